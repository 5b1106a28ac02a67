"""Prunes between embedded registries: what goes, what stays, and what is left alone because something is not sure."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.config.loader import load_configuration
from image_syncer.config.model import CatalogRule
from image_syncer.config.pruning import Pruning
from image_syncer.config.tag_filters import VersionSelection
from image_syncer.embedded import (
    DOUBLES,
    Behaviour,
    ContentBuilder,
    DigestHeader,
    DirectoryStorage,
    Fault,
    FaultKind,
    LinkForm,
    MemoryStorage,
    RateLimit,
    push_to,
    serve_in_thread,
)
from image_syncer.embedded.call import Refusal
from image_syncer.embedded.storage import StoredManifest
from image_syncer.oci import Digest, Repository, digest_of
from image_syncer.pruning.pruner import load_prune_plan
from image_syncer.runs import prune, sync
from image_syncer.telemetry import Outcome
from support.signed_images import SIGNATURE, fallback_index, signed_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry, MadeManifest, Storage
    from image_syncer.telemetry import Report
    from image_syncer.telemetry.report import Pruned

APP = "team/app"
ALL = TagSelection()
DELETE = Pruning(delete=True, most=None)
VERSIONS = TagSelection(include=("v*",))


class Lab:
    """A source with tags, a destination with more of them, and prunes of the one by the other."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self.directory = directory
        self.content = ContentBuilder(seed=3)
        self.source = self.add(MemoryStorage())
        self.destination = self.add(MemoryStorage())

    def add(self, storage: Storage, behaviour: Behaviour | None = None) -> EmbeddedRegistry:
        return self._stack.enter_context(serve_in_thread(storage, behaviour))

    def put(self, registry: EmbeddedRegistry, *tags: str, made: MadeManifest | None = None, name: str = APP) -> Any:
        made = made or self.content.image(1)
        push_to(registry.storage, name, made, tags)
        return made

    def both(self, *tags: str) -> None:
        """Images that source and destination have."""
        for tag in tags:
            self.put(self.destination, tag, made=self.put(self.source, tag))

    def rule(self, tags: TagSelection = ALL, *, name: str = APP, to: str = APP, names: Sequence[str] = ()) -> Rule:
        target = Destination(Repository(self.destination.address, to), tuple(names))
        return Rule(Repository(self.source.address, name), tags, (target,))

    def configuration(self, *rules: Rule, catalogs: Sequence[CatalogRule] = ()) -> Configuration:
        entries = [RegistryEntry(each.address, insecure=True) for each in (self.source, self.destination)]
        return Configuration(rules or (self.rule(),), RegistryBook(entries), (), tuple(catalogs))

    def prune(self, *rules: Rule, pruning: Pruning = DELETE, code: int = 0, **settings: Any) -> Pruned:
        wanted = replace(Settings(retries=0, pruning=pruning), **settings)
        return self.told(prune(self.configuration(*rules), wanted), code)

    def sync(self, *rules: Rule, pruning: Pruning | None = DELETE, code: int = 0, **settings: Any) -> Pruned | None:
        wanted = replace(Settings(retries=0, workers=1, pruning=pruning), **settings)
        report = sync(self.configuration(*rules), wanted)
        return self.told(report, code) if pruning is not None else None

    def told(self, report: Report, code: int) -> Pruned:
        assert report.internal_error is None
        assert report.pruned is not None
        assert report.exit_code == code, (report.pruned.as_data(), report.failures)
        return report.pruned

    def tags(self, name: str = APP) -> list[str]:
        return list(self.destination.storage.tags(name))

    def has(self, made: MadeManifest, name: str = APP) -> bool:
        return self.destination.storage.manifest(name, Digest(made.digest)) is not None


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with ExitStack() as stack:
        yield Lab(stack, tmp_path)


def deleted(pruned: Pruned) -> list[str]:
    return sorted(tag for each in pruned.deletions if each.outcome == "deleted" for tag in each.tags)


@pytest.mark.parametrize("make", [lambda _path: MemoryStorage(), DirectoryStorage], ids=["memory", "folder"])
def test_what_no_rule_selects_goes_with_what_is_under_it(lab: Lab, make: Callable[[Path], Storage]) -> None:
    lab.destination = lab.add(make(lab.directory / "folder"))
    lab.both("v1", "v2")
    old = lab.put(lab.destination, "old", made=lab.content.index())
    pruned = lab.prune()
    assert lab.tags() == ["v1", "v2"]
    assert not any(lab.has(each) for each in old.manifests())
    assert [each.outcome for each in pruned.deletions] == ["deleted"] * len(list(old.manifests()))
    assert pruned.deletions[0].tags == ("old",)  # the index before what is in it
    assert lab.prune().deletions == []


@pytest.mark.parametrize("form", ["schema1", "artifact", "foreign_image", "nested_index"])
def test_images_of_every_form_go(lab: Lab, form: str) -> None:
    lab.both("v1")
    made = lab.content.artifact(SIGNATURE) if form == "artifact" else getattr(lab.content, form)()
    lab.put(lab.destination, "old", made=made)
    lab.prune()
    assert lab.tags() == ["v1"]
    assert not any(lab.has(each) for each in made.manifests())


def test_a_dry_run_is_the_default_and_deletes_nothing(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "old")
    report = prune(lab.configuration(), Settings(report_path=str(lab.directory / "report.json")))
    assert lab.tags() == ["old", "v1"]
    document = json.loads((lab.directory / "report.json").read_text())
    assert (document["kind"], document["exit_code"], report.exit_code) == ("prune", 0, 0)
    [would] = document["pruned"]["deletions"]
    assert (would["tags"], would["outcome"]) == (["old"], "would go")
    assert document["totals"]["outcomes"]["selected"] == 1
    assert lab.destination.counters.values().count("delete manifest") == 0


def test_nothing_is_asked_of_manifests_where_every_tag_is_selected(lab: Lab) -> None:
    lab.both("v1", "v2")
    lab.prune()
    counts = lab.destination.counters.values()
    assert (counts.count("list tags"), counts.count("head manifest"), counts.count("get manifest")) == (1, 0, 0)


def test_a_tag_on_the_manifest_of_a_selected_tag_goes_alone(lab: Lab) -> None:
    image = lab.put(lab.source, "v1")
    lab.put(lab.destination, "v1", "old", made=image)
    pruned = lab.prune()
    assert lab.tags() == ["v1"]
    assert lab.has(image)
    assert [each.alone for each in pruned.deletions] == [True]


def test_a_tag_on_a_manifest_inside_a_selected_index_goes_alone(lab: Lab) -> None:
    index = lab.put(lab.source, "v1", made=lab.content.index())
    lab.put(lab.destination, "v1", made=index)
    lab.put(lab.destination, "v1-amd64", made=index.children[0])
    lab.prune()
    assert lab.tags() == ["v1"]
    assert all(lab.has(each) for each in index.manifests())


@pytest.mark.parametrize("kind", ["registry2"])
def test_a_registry_that_deletes_digests_only_keeps_a_tag_beside_a_selected_one(lab: Lab, kind: str) -> None:
    """DELETE of the digest would take the selected tag along."""
    behaviour = replace(DOUBLES[kind].behaviour, deletes=True, users={}, bearer=None, anonymous=())
    lab.destination = lab.add(MemoryStorage(), behaviour)
    image = lab.put(lab.source, "v1")
    lab.put(lab.destination, "v1", "beside", made=image)
    lab.put(lab.destination, "old")
    pruned = lab.prune(code=1)
    assert lab.tags() == ["beside", "v1"]
    outcomes = {each.tags: each.outcome for each in pruned.deletions}
    assert outcomes == {("beside",): "left", ("old",): "deleted"}


def test_a_registry_that_takes_the_manifest_along_with_a_tag_gets_it_back(lab: Lab) -> None:
    """No registry that is known does this, and the specification does not let it."""

    class Greedy(MemoryStorage):
        def delete_tag(self, repository: str, name: str) -> bool:
            digest = self.tag(repository, name)
            gone = super().delete_tag(repository, name)
            if gone and digest is not None and self.manifest(repository, digest) is not None:
                for tag in [tag for tag in self.tags(repository) if self.tag(repository, tag) == digest]:
                    super().delete_tag(repository, tag)
                self.delete_manifest(repository, digest)
            return gone

    lab.destination = lab.add(Greedy())
    image = lab.put(lab.source, "v1", "v2")
    lab.put(lab.destination, "v1", "v2", "old-1", "old-2", made=image)
    pruned = lab.prune(code=1)
    assert [each.outcome for each in pruned.deletions] == ["failed", "gone already"]
    assert lab.tags() == ["v1", "v2"]
    assert lab.has(image)


def test_where_deletes_are_switched_off_people_are_told_how_to_switch_them_on(lab: Lab) -> None:
    lab.destination = lab.add(MemoryStorage(), Behaviour(deletes=False))
    lab.both("v1")
    for tag in ("old-1", "old-2"):
        lab.put(lab.destination, tag)
    pruned = lab.prune(code=1)
    assert [each.outcome for each in pruned.deletions] == ["failed", "failed"]
    assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in str(pruned.deletions[0].error)
    assert lab.destination.counters.values().count("delete manifest") == 1  # and is not asked again
    assert lab.tags() == ["old-1", "old-2", "v1"]


@pytest.mark.parametrize("api", [True, False], ids=["referrers API", "lists under tags"])
def test_what_refers_to_an_image_stays_and_goes_with_it(lab: Lab, api: bool) -> None:
    lab.destination = lab.add(MemoryStorage(), Behaviour(referrers=api))
    lab.put(lab.source, "v1")
    stays, goes = signed_image(lab.content), signed_image(lab.content)
    for image, tag in ((stays, "v1"), (goes, "v0")):
        lab.put(lab.destination, tag, made=image.root)
        lab.put(lab.destination, image.cosign_tag, made=image.cosign)
        for referrer in image.by_subject.values():
            lab.put(lab.destination, made=referrer)
        for subject, list_tag in image.fallback_tags.items() if not api else ():
            lab.put(lab.destination, list_tag, made=fallback_index(lab.content, image.by_subject[subject]))
    before = set(lab.tags())
    lab.prune()
    gone = {"v0", goes.cosign_tag, *(goes.fallback_tags.values() if not api else ())}
    assert set(lab.tags()) == before - gone
    for made in (stays.root, *stays.root.manifests(), stays.cosign, *stays.by_subject.values()):
        assert lab.has(made)
    for made in (goes.root, *goes.root.manifests(), goes.cosign, *goes.by_subject.values()):
        assert not lab.has(made)


def test_a_signature_under_a_tag_of_its_own_stays_with_its_image(lab: Lab) -> None:
    image = lab.put(lab.source, "v1")
    lab.put(lab.destination, "v1", made=image)
    signature = lab.put(lab.destination, "signed", made=lab.content.artifact(SIGNATURE, subject=image))
    pruned = lab.prune()
    assert lab.tags() == ["signed", "v1"]
    assert lab.has(signature)
    assert "refers to" in pruned.plans[0].left[0][2]


def test_the_subject_of_a_selected_signature_stays(lab: Lab) -> None:
    image = lab.content.image(1)
    signature = lab.put(lab.source, "v1", made=lab.content.artifact(SIGNATURE, subject=image))
    lab.put(lab.destination, "image", made=image)
    lab.put(lab.destination, "v1", made=signature)
    lab.prune()
    assert lab.tags() == ["image", "v1"]
    assert lab.has(image)


def test_a_signature_of_an_image_that_nobody_can_see_stays(lab: Lab) -> None:
    """A tag has moved on, and the image that it had is there still: it may be in use by its digest."""
    lab.both("v1")
    unseen = lab.put(lab.destination)
    tag = f"{unseen.digest.replace(':', '-')}.sig"
    lab.put(lab.destination, tag)
    orphan = f"sha256-{'0' * 64}.sig"
    lab.put(lab.destination, orphan)
    lab.prune()
    assert lab.tags() == sorted([tag, orphan, "v1"])
    lab.prune(pruning=replace(DELETE, orphans=True))
    assert lab.tags() == sorted([tag, "v1"])
    assert lab.has(unseen)


@pytest.mark.parametrize("selected", [True, False])
def test_a_tag_that_is_listed_and_cannot_be_found(lab: Lab, selected: bool) -> None:
    """As old releases of distribution leave tags of manifests that are gone."""
    lab.both("v1")
    lab.put(lab.destination, "old")
    lost = lab.put(lab.destination, "lost")
    if selected:
        lab.put(lab.source, "lost")
    del lab.destination.storage._repositories[APP].manifests[Digest(lost.digest)]
    pruned = lab.prune(code=int(selected))
    assert lab.tags() == (["lost", "old", "v1"] if selected else ["lost", "v1"])
    assert ["lost" in each.reason for each in pruned.held] == [True] * selected


def test_a_manifest_that_cannot_be_read_holds_the_repository(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "old")
    raw = b'{"schemaVersion": 2, "config": {}, "manifests": []}'  # an image and an index at once
    stored = StoredManifest(digest_of(raw), "application/vnd.oci.image.manifest.v1+json", len(raw))
    lab.destination.storage.put_manifest(APP, stored, raw, "strange")
    pruned = lab.prune(code=1)
    assert "cannot be used" in pruned.held[0].reason
    assert lab.tags() == ["old", "strange", "v1"]


def test_a_list_of_tags_that_leaves_out_a_selected_one_is_not_trusted(lab: Lab) -> None:
    """What is on a manifest is not known then: `v9`, which is selected, is on that of `old`, which is not."""
    image = lab.put(lab.source, "v9")
    lab.put(lab.source, "v1")
    lab.destination = lab.add(MemoryStorage(), Behaviour(max_page_size=2, link_form=LinkForm.MISSING))
    lab.put(lab.destination, "a", "old", "v9", made=image)
    pruned = lab.prune(code=1)
    assert "leaves out v9" in pruned.held[0].reason
    assert lab.tags() == ["a", "old", "v9"]


def test_a_selected_tag_whose_manifest_cannot_be_read_holds_the_repository(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "old")
    lab.destination.behaviour = Behaviour(digest_header_on_get=DigestHeader.WRONG)
    lab.prune(code=1)
    assert lab.tags() == ["old", "v1"]


def test_repositories_of_no_rule_are_not_touched(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "x", name="team/other")
    lab.put(lab.destination, "x", name="team")
    lab.put(lab.destination, "x", name="team/app/part")
    before = lab.destination.counters.values()
    lab.prune()
    counts = lab.destination.counters.values().minus(before)
    assert counts.count("list tags") == 1
    for name in ("team/other", "team", "team/app/part"):
        assert lab.tags(name) == ["x"]


def test_a_rule_that_names_tags_of_its_destination_does_not_own_the_others(lab: Lab) -> None:
    lab.put(lab.source, "v1")
    lab.put(lab.destination, "of-somebody-else")
    pruned = lab.prune(lab.rule(TagSelection(names=("v1",)), names=("app-v1",)))
    assert lab.tags() == ["of-somebody-else"]
    assert [(each.repository, each.is_failure) for each in pruned.held] == [(f"{lab.destination.address}/{APP}", False)]


def test_all_rules_with_a_destination_count_and_one_that_fails_holds_it(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "old")
    lab.put(lab.source, "w1", name="team/second")
    lab.put(lab.destination, "w1")
    rules = (lab.rule(VERSIONS), lab.rule(name="team/second"))
    assert lab.prune(*rules, pruning=Pruning()).tag_count == 1
    missing = lab.prune(lab.rule(VERSIONS), lab.rule(name="team/nowhere"), code=1)
    assert "team/nowhere" in missing.held[0].reason
    assert lab.tags() == ["old", "v1", "w1"]


def test_a_rule_that_selects_fewer_than_min_tags_prunes_nothing(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "v2", "v3")
    pruned = lab.prune(lab.rule(TagSelection(min_tags=2)), code=1)
    assert "wants 2 at least" in pruned.held[0].reason
    assert lab.tags() == ["v1", "v2", "v3"]


@pytest.mark.parametrize("told", [False, True])
def test_a_source_without_any_selected_tag_prunes_only_where_told(lab: Lab, told: bool) -> None:
    lab.put(lab.source, "latest")
    lab.put(lab.destination, "v1")
    pruning = replace(DELETE, empty_sources=told)
    pruned = lab.prune(lab.rule(VERSIONS), pruning=pruning, code=0 if told else 1)
    assert lab.tags() == ([] if told else ["v1"])
    assert [each.reason.partition(": ")[2] for each in pruned.held] == (
        [] if told else ["no tag of the repository matches the rule"]
    )


def test_a_page_of_tags_that_fails_prunes_nothing(lab: Lab) -> None:
    tags = [f"v{number}" for number in range(4)]
    lab.both(*tags)
    lab.source.behaviour = Behaviour(max_page_size=2, faults=(Fault("list tags", skip=1, times=None),))
    lab.put(lab.destination, "old")
    lab.prune(code=1)
    assert lab.tags() == sorted(["old", *tags])


def test_what_another_rule_copies_from_the_repository_stays(lab: Lab) -> None:
    """The destination of one rule is the source of the next."""
    lab.both("v1")
    lab.put(lab.destination, "stable")
    onward = Rule(
        Repository(lab.destination.address, APP),
        TagSelection(names=("stable",)),
        (Destination(Repository(lab.destination.address, "release/app")),),
    )
    lab.prune(lab.rule(), onward)
    assert lab.tags() == ["stable", "v1"]


def test_a_rule_that_fails_holds_the_repository_that_it_reads(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "stable")
    onward = Rule(
        Repository(lab.destination.address, APP),
        TagSelection(include=("stable*",), min_tags=2),
        (Destination(Repository(lab.destination.address, "release/app")),),
    )
    lab.prune(lab.rule(), onward, code=1)
    assert lab.tags() == ["stable", "v1"]


def test_a_registry_that_wants_tags_to_be_deleted_first(lab: Lab) -> None:
    """As Google's does: 400 GOOGLE_MANIFEST_DANGLING_TAG."""

    class TagsFirst(MemoryStorage):
        def delete_manifest(self, repository: str, digest: Digest) -> bool:
            if any(self.tag(repository, tag) == digest for tag in self.tags(repository)):
                raise Refusal(400, "GOOGLE_MANIFEST_DANGLING_TAG", "manifest has tags")
            return super().delete_manifest(repository, digest)

    lab.destination = lab.add(TagsFirst())
    lab.both("v1")
    old = lab.put(lab.destination, "old", "older")
    lab.prune()
    assert lab.tags() == ["v1"]
    assert not lab.has(old)


def test_requests_are_tried_again_and_a_deletion_whose_answer_was_lost_is_done(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "old-1")
    lab.put(lab.destination, "old-2")
    lab.destination.behaviour = Behaviour(
        faults=(Fault("delete manifest", FaultKind.LOST_ANSWER), Fault("delete manifest", status=503, skip=1))
    )
    pruned = lab.prune(retries=2)
    assert sorted(each.outcome for each in pruned.deletions) == ["deleted", "gone already"]
    assert lab.tags() == ["v1"]


def test_a_registry_that_limits_requests_is_waited_for(lab: Lab) -> None:
    lab.both("v1")
    for number in range(3):
        lab.put(lab.destination, f"old-{number}")
    limit = RateLimit(("delete manifest",), burst=1, per_s=20.0, retry_after_s=0)
    lab.destination.behaviour = Behaviour(rate_limits=(limit,))
    pruned = lab.prune(retries=2)
    assert [each.outcome for each in pruned.deletions] == ["deleted"] * 3


def test_backups_and_patterns_to_keep_stay_unless_they_are_asked_for(lab: Lab) -> None:
    lab.both("v1")
    backup = lab.put(lab.destination, "of-ci-7")
    tag = f"v1-{Digest(backup.digest).hex[:12]}"
    lab.put(lab.destination, tag, made=backup)
    lab.put(lab.destination, "v1-20260101")
    kept = replace(DELETE, keep=("of-ci-*",), backup_tag="{tag}-{date}")
    lab.prune(pruning=kept)
    assert lab.tags() == sorted(["of-ci-7", tag, "v1", "v1-20260101"])
    lab.prune(pruning=replace(kept, keep=(), keep_backups=False))
    assert lab.tags() == ["v1"]


def test_more_than_the_share_deletes_nothing_anywhere(lab: Lab) -> None:
    lab.both(*(f"v{number}" for number in range(7)))
    for number in range(3):
        lab.put(lab.destination, f"old{number}")
    pruned = lab.prune(pruning=Pruning(delete=True, most=0.2), code=1)
    assert pruned.excess is not None
    assert "3 of the 10 tags" in pruned.excess
    assert len(lab.tags()) == 10
    lab.prune(pruning=Pruning(delete=True, most=0.3))
    assert len(lab.tags()) == 7


def test_many_repositories_may_not_lose_one_tag_each(lab: Lab) -> None:
    """One tag of a repository may always go, and of all together only the share."""
    names = [f"team/app{number}" for number in range(4)]
    for name in names:
        lab.put(lab.source, "v1", name=name)
        for tag in ("v1", "old"):
            lab.put(lab.destination, tag, name=name)
    pruned = lab.prune(*(lab.rule(name=name, to=name) for name in names), pruning=Pruning(delete=True), code=1)
    assert "all repositories" in str(pruned.excess)
    assert all(lab.tags(name) == ["old", "v1"] for name in names)


def test_a_plan_bounds_what_goes_and_what_has_changed_since_is_left(lab: Lab) -> None:
    lab.both("v1")
    goes, moves = lab.put(lab.destination, "goes"), lab.put(lab.destination, "moves")
    retagged = lab.put(lab.destination, "retagged")
    path = lab.directory / "plan.json"
    lab.prune(pruning=Pruning(most=None, save_path=str(path)))
    moved = lab.put(lab.destination, "moves")
    lab.put(lab.destination, "new")
    lab.put(lab.destination, "new-too", made=retagged)
    lab.prune(pruning=Pruning(delete=True, plan=load_prune_plan(str(path))))
    assert lab.tags() == ["moves", "new", "new-too", "v1"]
    assert not lab.has(goes)
    assert lab.has(moved)
    # Nothing points at it any more, and it is what the plan says.
    assert not lab.has(moves)
    # The tag goes, as the plan says, and the manifest has got another one, of which the plan says nothing.
    assert lab.has(retagged)


def test_a_plan_is_gone_on_with_after_a_prune_that_was_interrupted(lab: Lab) -> None:
    """What was under an image that is gone has no tag, and nothing else leads to it."""
    lab.both("v1")
    old = lab.put(lab.destination, "old", made=lab.content.index())
    path = lab.directory / "plan.json"
    lab.prune(pruning=Pruning(most=None, save_path=str(path)))
    lab.destination.storage.delete_manifest(APP, Digest(old.digest))
    lab.prune(pruning=DELETE)
    assert all(lab.has(each) for each in old.children)
    lab.prune(pruning=Pruning(delete=True, plan=load_prune_plan(str(path))))
    assert not any(lab.has(each) for each in old.manifests())
    assert lab.tags() == ["v1"]


def test_what_is_too_much_is_not_saved_either(lab: Lab) -> None:
    lab.both("v1")
    for tag in ("old-1", "old-2"):
        lab.put(lab.destination, tag)
    path = lab.directory / "plan.json"
    pruned = lab.prune(pruning=Pruning(save_path=str(path)), code=1)
    assert "no plan is written" in str(pruned.unsaved)
    assert not path.exists()
    pruned = lab.prune(pruning=Pruning(most=None, save_path=str(lab.directory / "nowhere" / "plan.json")), code=1)
    assert "--save" in str(pruned.unsaved)


def test_a_plan_takes_nobody_into_a_repository_outside_the_rules(lab: Lab) -> None:
    lab.both("v1")
    image = lab.put(lab.destination, "x", name="team/other")
    entry = {
        "repository": f"{lab.destination.address}/team/other",
        "tags": [],
        "manifests": [{"digest": image.digest, "tags": ["x"]}],
    }
    path = lab.directory / "plan.json"
    path.write_text(json.dumps({"kind": "prune plan", "version": 1, "repositories": [entry]}))
    pruned = lab.prune(pruning=Pruning(delete=True, plan=load_prune_plan(str(path))), code=1)
    assert lab.tags("team/other") == ["x"]
    assert "no rule of these files owns it" in pruned.held[0].reason


class Busy(MemoryStorage):
    """Where somebody pushes as soon as a manifest has been deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.push: Callable[[], object] = lambda: None

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        gone = super().delete_manifest(repository, digest)
        self.push()
        return gone


def test_a_tag_that_moves_while_others_are_deleted_is_left(lab: Lab) -> None:
    storage = Busy()
    lab.destination = lab.add(storage)
    lab.both("v1")
    lab.put(lab.destination, "old-1")
    lab.put(lab.destination, "old-2")
    new = lab.content.image(1)
    storage.push = lambda: push_to(storage, APP, new, [tag for tag in storage.tags(APP) if tag != "v1"])
    pruned = lab.prune(code=1)
    assert sorted(each.outcome for each in pruned.deletions) == ["deleted", "left"]
    [left] = [tag for tag in lab.tags() if tag != "v1"]
    assert storage.tag(APP, left) == new.digest
    assert lab.has(new)


def test_what_gets_a_selected_tag_while_others_are_deleted_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer.pruning.pruner.DELETED_BEFORE_A_LOOK", 1)
    storage = Busy()
    lab.destination = lab.add(storage)
    lab.both("v1")
    images = {tag: lab.put(lab.destination, tag) for tag in ("old-1", "old-2")}

    def push() -> None:
        [left] = [tag for tag in storage.tags(APP) if tag != "v1"]
        push_to(storage, APP, images[left], ["v1"])

    storage.push = push
    pruned = lab.prune(code=1)
    assert sorted(each.outcome for each in pruned.deletions) == ["deleted", "left"]
    [left] = [tag for tag in lab.tags() if tag != "v1"]
    assert storage.tag(APP, "v1") == images[left].digest
    assert lab.has(images[left])


def test_a_sync_prunes_after_everything_is_there(lab: Lab) -> None:
    lab.put(lab.source, "v1")
    lab.put(lab.destination, "old")
    lab.sync()
    assert lab.tags() == ["v1"]


def test_a_sync_in_which_an_image_fails_prunes_nothing_in_its_repository(lab: Lab) -> None:
    lab.put(lab.source, "v1")
    lab.put(lab.source, "v1", name="team/second")
    for name in (APP, "team/second"):
        lab.put(lab.destination, "old", name=name)
    rules = (lab.rule(TagSelection(names=("v1", "missing"))), lab.rule(name="team/second", to="team/second"))
    pruned = lab.sync(*rules, code=1)
    assert pruned is not None
    assert lab.tags() == ["old", "v1"]
    assert lab.tags("team/second") == ["v1"]


def test_a_dry_run_of_a_sync_prunes_nothing(lab: Lab) -> None:
    lab.put(lab.source, "v1")
    lab.put(lab.destination, "old")
    pruned = lab.sync(dry_run=True)
    assert lab.tags() == ["old"]
    assert pruned is not None
    assert pruned.tag_count == 1


@pytest.mark.extended
def test_a_journal_forgets_what_was_deleted(lab: Lab) -> None:
    """A later sync that asks nobody about what its journal has must bring the image again."""
    state = str(lab.directory / "journal")
    lab.put(lab.source, "v1")
    image = lab.put(lab.source, "v2")
    lab.sync(pruning=None, state_path=state)
    lab.source.storage.delete_tag(APP, "v2")
    lab.prune(state_path=state)
    assert lab.tags() == ["v1"]
    for blob in image.all_blobs():  # garbage is collected
        lab.destination.storage.delete_blob(APP, Digest(blob.digest))
    lab.put(lab.source, "v2", made=image)
    lab.sync(pruning=None, state_path=state, trust_state=True)
    assert lab.tags() == ["v1", "v2"]
    for blob in image.all_blobs():
        assert lab.destination.storage.read_blob(APP, Digest(blob.digest)) == blob.read()


def test_an_image_that_is_brought_by_its_digest_stays(lab: Lab) -> None:
    image = lab.put(lab.source, made=lab.content.image(1))
    lab.both("v1")
    index = lab.put(lab.destination, "old", made=lab.content.index([image]))
    pinned = lab.rule(TagSelection(digest=Digest(image.digest)))
    lab.sync(lab.rule(VERSIONS), pinned)
    assert lab.tags() == ["v1"]
    assert lab.has(image)
    assert not lab.has(index)


def test_where_an_image_by_digest_is_not_there_nothing_is_pruned(lab: Lab) -> None:
    """With a choice of platforms, it may be there under another digest, and nobody knows which."""
    image = lab.put(lab.source, made=lab.content.image(1))
    lab.both("v1")
    lab.put(lab.destination, "old")
    pruned = lab.prune(lab.rule(VERSIONS), lab.rule(TagSelection(digest=Digest(image.digest))), code=1)
    assert lab.tags() == ["old", "v1"]
    assert image.digest in pruned.held[0].reason


def test_retention_by_version(lab: Lab) -> None:
    lab.both(*(f"1.{number}.0" for number in range(5)))
    newest = TagSelection(versions=VersionSelection(newest=3))
    lab.prune(lab.rule(newest))
    assert lab.tags() == ["1.2.0", "1.3.0", "1.4.0"]


def catalog_of(lab: Lab, **keys: Any) -> Configuration:
    rule = {"source": f"{lab.source.address}/team/**", "destination": f"{lab.destination.address}/mirror/**", **keys}
    registries = {each.address: {"insecure": True} for each in (lab.source, lab.destination)}
    path = lab.directory / "catalog.json"
    path.write_text(json.dumps({"version": 2, "registries": registries, "rules": [rule]}))
    return load_configuration(config=str(path), environ={})


def test_a_catalog_rule_owns_the_repositories_that_it_finds(lab: Lab) -> None:
    lab.put(lab.source, "v1")
    configuration = catalog_of(lab)
    done = sync(configuration, Settings(workers=1))
    [name] = lab.destination.storage.repositories()
    assert done.exit_code == 0
    lab.put(lab.destination, "old", name=name)
    lab.put(lab.destination, "old", name=f"{name}-which-is-gone-at-the-source")
    lab.told(prune(configuration, Settings(pruning=DELETE)), 0)
    assert lab.tags(name) == ["v1"]
    assert lab.tags(f"{name}-which-is-gone-at-the-source") == ["old"]


def test_a_catalog_that_cannot_be_listed_holds_everything_at_its_destination(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "old")
    lab.source.behaviour = Behaviour(faults=(Fault("list catalog", times=None),))
    configuration = catalog_of(lab)
    both = replace(configuration, rules=(lab.rule(),))
    lab.told(prune(both, Settings(retries=0, pruning=DELETE)), 1)
    assert lab.tags() == ["old", "v1"]


def test_a_catalog_in_which_nothing_is_meant_holds_everything_at_its_destination(lab: Lab) -> None:
    lab.put(lab.source, "v1", name="elsewhere/app")
    lab.put(lab.destination, "v1", "old", name="elsewhere/app")
    rule = lab.rule(name="elsewhere/app", to="elsewhere/app")
    both = replace(catalog_of(lab), rules=(rule,))
    lab.told(prune(both, Settings(retries=0, pruning=DELETE)), 1)
    assert lab.tags("elsewhere/app") == ["old", "v1"]
    lab.told(prune(both, Settings(retries=0, pruning=replace(DELETE, empty_sources=True))), 0)
    assert lab.tags("elsewhere/app") == ["v1"]


def test_a_dry_run_of_a_sync_that_would_bring_a_digest_holds_nothing(lab: Lab) -> None:
    image = lab.put(lab.source, made=lab.content.image(1))
    lab.both("v1")
    lab.put(lab.destination, "old")
    pruned = lab.sync(lab.rule(VERSIONS), lab.rule(TagSelection(digest=Digest(image.digest))), dry_run=True)
    assert pruned is not None
    assert (pruned.tag_count, pruned.held) == (1, [])


def test_a_deadline_prunes_nothing(lab: Lab) -> None:
    lab.both("v1")
    lab.put(lab.destination, "old")
    lab.source.behaviour = Behaviour(latency_s=3600.0)
    report = prune(lab.configuration(), Settings(pruning=DELETE, deadline_s=0.3))
    assert (report.interrupted, report.exit_code) == ("deadline", 1)
    assert report.totals.outcomes == {Outcome.NOT_TRIED: 1}
    assert lab.tags() == ["old", "v1"]
