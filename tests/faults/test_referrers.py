"""What belongs to an image goes with it: by API and by tag, to registries with the API and to those without."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer import load_report
from image_syncer.config import parse_referrer_selection
from image_syncer.embedded import DOUBLES, Behaviour, Fault, FaultKind
from image_syncer.registry.referrers import fallback_tag
from image_syncer.reporting.chosen_work import find_unfinished
from image_syncer.telemetry import Outcome
from support.client import Client
from support.signed_images import INDEX, SIGNATURE, described, discover, fallback_index, signed_image
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry
    from support.signed_images import SignedImage
    from support.sync_runs import SyncLab

NO_API = Behaviour(referrers=False)
ALL = {"referrers": parse_referrer_selection("all")}


@pytest.fixture
def image(lab: SyncLab) -> SignedImage:
    """At the source, under TAG, with everything that belongs to it."""
    made = signed_image(lab.content)
    push_signed(lab, made)
    return made


def push_signed(lab: SyncLab, made: SignedImage) -> None:
    lab.push(made.root)
    for referrer in made.by_subject.values():
        lab.push(referrer, tags=())
    lab.push(made.cosign, tags=(made.cosign_tag,))


def seen(registry: EmbeddedRegistry, image: SignedImage) -> dict[str, list[str]]:
    """By subject, the digests that a stranger discovers there."""
    with Client(registry.url) as client:
        return {
            subject: sorted(each["digest"] for each in discover(client, REPOSITORY, subject))
            for subject in image.by_subject
        }


def whole(image: SignedImage) -> dict[str, list[str]]:
    return {subject: [referrer.digest] for subject, referrer in image.by_subject.items()}


def assert_whole(lab: SyncLab, image: SignedImage, at: EmbeddedRegistry) -> None:
    lab.assert_arrived(image.root, at=at)
    lab.assert_arrived(image.cosign, tag=image.cosign_tag, at=at)
    assert seen(at, image) == whole(image)
    with Client(at.url) as client:
        for subject, referrer in image.by_subject.items():
            assert client.get(f"/v2/{REPOSITORY}/manifests/{referrer.digest}").body == referrer.raw
            assert discover(client, REPOSITORY, subject) == [described(referrer)]
            for blob in referrer.blobs:
                assert client.get(f"/v2/{REPOSITORY}/blobs/{blob.digest}").body == blob.read()


@pytest.mark.parametrize("source_lists", [True, False], ids=["API at the source", "tags at the source"])
@pytest.mark.parametrize("listed", [True, False], ids=["API at the destination", "tags at the destination"])
def test_an_image_arrives_whole(lab: SyncLab, image: SignedImage, *, source_lists: bool, listed: bool) -> None:
    source, target = lab.source, lab.add_registry(Behaviour() if listed else NO_API)
    if not source_lists:
        source = lab.add_registry(NO_API)
        for subject, referrer in image.by_subject.items():
            lab.push(referrer, tags=(), to=source)
            lab.push(fallback_index(lab.content, referrer), tags=(image.fallback_tags[subject],), to=source)
        lab.push(image.root, to=source)
        lab.push(image.cosign, tags=(image.cosign_tag,), to=source)
    done = lab.run(lab.rule(origin=source, to=[(target, REPOSITORY)]), **ALL)
    assert done.outcomes == ["copied"] * 5
    belongs = {result.source.rpartition("/")[2]: result.referrer_of for result in done.images}
    of = f"{source.address}/{REPOSITORY}@"
    assert belongs == {
        f"app:{TAG}": None,
        f"app@{image.signature.digest}": of + image.root.digest,
        f"app:{image.cosign_tag}": of + image.root.digest,
        f"app@{image.sbom.digest}": of + image.child.digest,
        f"app@{image.sbom_signature.digest}": of + image.sbom.digest,
    }
    assert_whole(lab, image, target)
    tags = {*target.storage.tags(REPOSITORY)}
    assert tags == {TAG, image.cosign_tag, *(() if listed else image.fallback_tags.values())}


def test_nothing_goes_along_unasked(lab: SyncLab, image: SignedImage) -> None:
    done = lab.run(lab.rule())
    assert done.outcomes == ["copied"]
    assert done.at(lab.source).count("list referrers") == done.at(lab.source).count("list tags") == 0
    assert seen(lab.destination, image) == {subject: [] for subject in image.by_subject}


@pytest.mark.parametrize("listed", [True, False], ids=["API", "tags"])
def test_a_signature_that_was_added_later_arrives(lab: SyncLab, image: SignedImage, *, listed: bool) -> None:
    target = lab.add_registry(Behaviour() if listed else NO_API)
    rule = lab.rule(to=[(target, REPOSITORY)])
    lab.run(rule, **ALL)
    later = lab.push(lab.content.artifact(SIGNATURE, subject=image.root), tags=())
    done = lab.run(rule, **ALL)
    assert done.outcomes == ["copied", *["unchanged"] * 5]
    assert seen(target, image)[image.root.digest] == sorted([image.signature.digest, later.digest])
    again = lab.run(rule, **ALL)
    assert again.outcomes == ["unchanged"] * 6
    assert again.at(target).count("put manifest") == 0


@pytest.mark.extended
def test_requests_of_a_run_in_which_nothing_changed(lab: SyncLab, image: SignedImage) -> None:
    target = lab.add_registry(NO_API)
    rule = lab.rule(to=[(target, REPOSITORY)])
    lab.run(rule, **ALL)
    done = lab.run(rule, **ALL)
    source, there = done.at(lab.source), done.at(target)
    # The image's manifests: two indexes, three images, two attestations; then three referrers, and cosign's.
    assert source.count("list referrers") == 7 + 4
    assert source.count("list tags") == 1
    assert source.count("get manifest") == 2 + 1  # the indexes, and cosign's tag for its digest
    assert source.count("head manifest") == there.count("head manifest") == 5
    assert there.count("list referrers") <= 3
    assert there.count("get manifest") == len(image.by_subject)


@pytest.mark.extended
def test_which_are_carried_along(lab: SyncLab, image: SignedImage) -> None:
    def carried(text: str) -> set[str]:
        target = lab.add_registry()
        done = lab.run(lab.rule(to=[(target, REPOSITORY)]), referrers=parse_referrer_selection(text))
        return {result.source.rpartition("app")[2] for result in done.images} - {f":{TAG}"}

    signature, sbom, cosign = f"@{image.signature.digest}", f"@{image.sbom.digest}", f":{image.cosign_tag}"
    deep = f"@{image.sbom_signature.digest}"
    assert carried("all,depth=1") == {signature, sbom, cosign}
    assert carried("signature") == {signature, cosign}
    assert carried("sbom") == {sbom}
    assert carried("sbom,signature,cosign=false") == {signature, sbom, deep}
    assert carried(SIGNATURE) == {signature}
    assert carried("exclude=sbom") == {signature, cosign}
    assert carried("annotation=org.opencontainers.image.created=20*") == {signature, sbom, deep}
    assert carried("annotation=org.opencontainers.image.created=19*") == set()


@pytest.mark.extended
def test_a_rule_goes_before_the_settings(lab: SyncLab, image: SignedImage) -> None:
    assert lab.run(lab.rule(referrers=parse_referrer_selection("none")), **ALL).outcomes == ["copied"]
    assert len(lab.run(lab.rule(referrers=ALL["referrers"])).images) == 5
    assert image.root.digest == lab.destination.storage.tag(REPOSITORY, TAG)


@pytest.mark.parametrize("what", ["signature", "sbom", "application/vnd.nobody.has"])
def test_an_image_without_what_is_required_fails_before_anything_is_there(lab: SyncLab, what: str) -> None:
    root = lab.push(lab.content.index())
    lab.push(lab.content.artifact("application/vnd.example.other", subject=root), tags=())
    done = lab.run(lab.rule(), exit_code=1, referrers=parse_referrer_selection(f"require={what}"))
    assert f"the image has no {what}, which is required" in str(done.failure.reason)
    there = done.at(lab.destination)
    assert there.count("put manifest") == there.count("start upload") == 0


@pytest.mark.extended
def test_what_is_required_may_be_on_each_platform(lab: SyncLab) -> None:
    root = lab.push(lab.content.index(platforms=("linux/amd64", "linux/arm64"), attestations=True))
    wanted = parse_referrer_selection("require=sbom")
    lab.push(lab.content.artifact("application/spdx+json", subject=root.children[0]), tags=())
    assert lab.run(lab.rule(), exit_code=1, referrers=wanted).outcomes == ["failed"]
    lab.push(lab.content.artifact("application/spdx+json", subject=root.children[1]), tags=())
    assert lab.run(lab.rule(), referrers=wanted).outcomes == ["copied"] * 3


@pytest.mark.extended
def test_a_cosign_tag_is_a_signature(lab: SyncLab, image: SignedImage) -> None:
    plain = lab.push(lab.content.image(1), "team/plain")
    lab.push(lab.content.image(1), "team/plain", (plain.digest.replace(":", "-") + ".sig",))
    rule = lab.rule("team/plain")
    assert lab.run(rule, referrers=parse_referrer_selection("require=signature")).outcomes == ["copied"] * 2
    without = parse_referrer_selection("require=signature,cosign=false")
    assert lab.run(rule, exit_code=1, referrers=without).outcomes == ["failed"]


def test_what_others_have_listed_stays(lab: SyncLab, image: SignedImage) -> None:
    target = lab.add_registry(NO_API)
    theirs = lab.push(lab.content.artifact(subject=image.root), tags=(), to=target)
    document = json.loads(fallback_index(lab.content, theirs).raw)
    document["annotations"] = {"org.example.by": "others"}
    with Client(target.url) as client:
        place = f"/v2/{REPOSITORY}/manifests/{fallback_tag(image.root.digest)}"
        body = json.dumps(document).encode()
        assert client.send("PUT", place, body, {"Content-Type": INDEX}).status == 201
        lab.run(lab.rule(to=[(target, REPOSITORY)]), **ALL)
        found = client.get(place).json()
    assert found["annotations"] == {"org.example.by": "others"}
    assert [entry["digest"] for entry in found["manifests"]] == [theirs.digest, image.signature.digest]


@pytest.mark.extended
def test_runs_at_the_same_time_lose_nothing_of_each_other(lab: SyncLab, image: SignedImage) -> None:
    """Others write the same list while ours is written: each of their writes is of what was there before ours."""
    target = lab.add_registry(NO_API)
    others = [lab.push(lab.content.artifact(subject=image.root), tags=(), to=target) for _ in range(3)]
    place = f"/v2/{REPOSITORY}/manifests/{fallback_tag(image.root.digest)}"
    ended = threading.Event()

    def write_others() -> None:
        with Client(target.url) as client:
            for count in range(1, len(others) + 1):
                before = client.get(f"/v2/{REPOSITORY}/tags/list").json()["tags"] or []
                while fallback_tag(image.root.digest) not in before:
                    before = client.get(f"/v2/{REPOSITORY}/tags/list").json()["tags"] or []
                raw = fallback_index(lab.content, *others[:count]).raw  # ours is not in it
                assert client.send("PUT", place, raw, {"Content-Type": INDEX}).status == 201
        ended.set()

    writer = threading.Thread(target=write_others)
    lab.push(image.root, to=target)
    writer.start()
    done = lab.run(lab.rule(to=[(target, REPOSITORY)]), **ALL)
    writer.join(30)
    assert ended.is_set()
    again = lab.run(lab.rule(to=[(target, REPOSITORY)]), **ALL)
    assert {result.outcome for result in (*done.images, *again.images)} <= {Outcome.COPIED, Outcome.UNCHANGED}
    expected = sorted([image.signature.digest, *(each.digest for each in others)])
    assert seen(target, image)[image.root.digest] == expected


@pytest.mark.extended
def test_a_list_that_cannot_be_written_fails_what_would_not_be_found(lab: SyncLab, image: SignedImage) -> None:
    target = lab.add_registry(NO_API)
    taken = lab.push(lab.content.image(1), tags=(fallback_tag(image.root.digest),), to=target)
    rule = lab.rule(to=[(target, REPOSITORY)])
    done = lab.run(rule, exit_code=1, **ALL)
    assert done.failure.source.endswith(image.signature.digest)
    assert "is taken, and not by a list of referrers" in str(done.failure.reason)
    assert target.storage.tag(REPOSITORY, fallback_tag(image.root.digest)) == taken.digest
    target.storage.delete_tag(REPOSITORY, fallback_tag(image.root.digest))
    unfinished = find_unfinished(load_report(str(lab.report_path)))
    assert str(unfinished.referrers) == "all"
    again = lab.run(*unfinished.rules, referrers=unfinished.referrers)
    assert again.outcomes == ["unchanged"]
    assert seen(target, image) == whole(image)


@pytest.mark.extended
@pytest.mark.parametrize("operation", ["list referrers", "list tags"])
def test_a_list_that_cannot_be_read_fails_the_image(lab: SyncLab, image: SignedImage, operation: str) -> None:
    lab.source.behaviour = Behaviour(faults=(Fault(operation, status=403, times=None),))
    done = lab.run(lab.rule(), exit_code=1, **ALL)
    assert done.failure.destination.endswith(TAG)
    assert image.root.digest != lab.destination.storage.tag(REPOSITORY, TAG)


@pytest.mark.extended
def test_an_image_that_is_there_fails_too(lab: SyncLab, image: SignedImage) -> None:
    lab.run(lab.rule())
    lab.source.behaviour = Behaviour(faults=(Fault("list referrers", status=500, times=None),))
    assert lab.run(lab.rule(), exit_code=1, retries=0, **ALL).outcomes == ["failed"]
    lab.assert_arrived(image.root)


@pytest.mark.extended
def test_a_referrer_that_fails_leaves_the_others_alone(lab: SyncLab, image: SignedImage) -> None:
    blob = image.sbom.blobs[1]
    lab.source.storage.delete_blob(REPOSITORY, blob.digest)
    done = lab.run(lab.rule(), exit_code=1, retries=0, **ALL)
    assert done.failure.source.endswith(image.sbom.digest)
    assert done.failure.referrer_of == f"{lab.source.address}/{REPOSITORY}@{image.child.digest}"
    assert sum(result.outcome is Outcome.COPIED for result in done.images) == 4
    assert done.failure.rule == {"referrers": "all"}


@pytest.mark.extended
def test_a_list_that_says_little_is_completed(lab: SyncLab) -> None:
    """Some list digests only; what is chosen by type and annotation is not missed."""
    made = lab.push(lab.content.image(1))
    sbom = lab.push(lab.content.artifact("application/spdx+json", subject=made), tags=())
    source = lab.source.address
    place = fallback_tag(made.digest)
    bare = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [sbom.descriptor()]}
    lab.source.behaviour = NO_API
    with Client(lab.source.url) as client:
        body = json.dumps(bare).encode()
        sent = client.send("PUT", f"/v2/{REPOSITORY}/manifests/{place}", body, {"Content-Type": INDEX})
        assert sent.status == 201
    target = lab.add_registry(NO_API)
    wanted = parse_referrer_selection("sbom,annotation=org.opencontainers.image.created=20*")
    done = lab.run(lab.rule(to=[(target, REPOSITORY)]), referrers=wanted)
    assert [image.source for image in done.images][1:] == [f"{source}/{REPOSITORY}@{sbom.digest}"]
    with Client(target.url) as client:
        assert discover(client, REPOSITORY, made.digest) == [described(sbom)]


@pytest.mark.extended
def test_a_run_that_ends_before_them_says_so_of_each(lab: SyncLab, image: SignedImage) -> None:
    blob = image.sbom.blobs[1].digest
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.STALL, times=None, match=blob),))
    done = lab.run(lab.rule(), exit_code=None, deadline_s=4.0, **ALL)
    assert done.report.exit_code == 1
    outcomes = {result.source.rpartition("app")[2]: result.outcome for result in done.images}
    assert outcomes[f":{TAG}"] is Outcome.COPIED
    assert outcomes[f"@{image.sbom.digest}"] is outcomes[f"@{image.sbom_signature.digest}"] is Outcome.NOT_TRIED
    lab.source.behaviour = Behaviour()
    unfinished = find_unfinished(load_report(str(lab.report_path)))
    lab.run(*unfinished.rules, referrers=unfinished.referrers)
    assert_whole(lab, image, lab.destination)


@pytest.mark.extended
def test_what_belongs_to_several_images_is_brought_once(lab: SyncLab, image: SignedImage) -> None:
    lab.push(image.root, tags=("same", "other"))
    tags = [TAG, "same", "other", image.cosign_tag]
    done = lab.run(lab.rule(tags=tags), **ALL)
    assert len(done.images) == len(tags) + len(image.by_subject)
    assert_whole(lab, image, lab.destination)


@pytest.mark.extended
def test_dry_run_tells_them(lab: SyncLab, image: SignedImage) -> None:
    done = lab.run(lab.rule(), dry_run=True, **ALL)
    assert done.outcomes == ["would be copied"] * 5
    assert done.at(lab.destination).count("put manifest") == 0
    assert image.root.digest


@pytest.mark.extended
def test_tags_that_are_lists_are_kept_and_not_copied(lab: SyncLab, image: SignedImage) -> None:
    listed = fallback_index(lab.content, image.signature)
    tag = fallback_tag(image.root.digest)
    lab.push(listed, tags=(tag,))
    target = lab.add_registry(NO_API)
    done = lab.run(lab.rule(tags=[TAG, tag], to=[(target, REPOSITORY)]), **ALL)
    outcomes = {result.source.rpartition("/")[2]: result.outcome for result in done.images}
    assert outcomes[f"app:{tag}"] is Outcome.SKIPPED
    assert seen(target, image) == whole(image)


@pytest.mark.extended
def test_the_journal_does_not_keep_later_signatures_out(lab: SyncLab, image: SignedImage, tmp_path: object) -> None:
    state = f"{tmp_path}/state"
    lab.run(lab.rule(), state_path=state, **ALL)
    later = lab.push(lab.content.artifact(SIGNATURE, subject=image.root), tags=())
    done = lab.run(lab.rule(), state_path=state, **ALL)
    assert done.outcomes == ["copied", *["unchanged"] * 5]
    assert later.digest in seen(lab.destination, image)[image.root.digest]
    trusted = lab.run(lab.rule(), state_path=state, trust_state=True, **ALL)
    assert trusted.outcomes == ["unchanged"]


@pytest.mark.extended
def test_a_list_in_pages(lab: SyncLab) -> None:
    made = lab.push(lab.content.image(1))
    first, second = (lab.push(lab.content.artifact(SIGNATURE, subject=made), tags=()) for _ in range(2))
    place = f"/v2/{REPOSITORY}/referrers/{made.digest}"
    headers = (("Link", f'<{place}?page=2>; rel="next"'),)
    page = fallback_index(lab.content, first).raw.decode()
    once = Fault("list referrers", status=200, body=page, content_type=INDEX, headers=headers, match=made.digest)
    lab.source.behaviour = Behaviour(faults=(once,))
    done = lab.run(lab.rule(), **ALL)
    assert len(done.images) == 3
    assert lab.destination.storage.manifest(REPOSITORY, second.digest) is not None


@pytest.mark.extended
def test_only_one_type_is_asked_for_where_only_one_is_wanted(lab: SyncLab, image: SignedImage) -> None:
    done = lab.run(lab.rule(), referrers=parse_referrer_selection(f"{SIGNATURE},cosign=false"))
    assert {result.source.rpartition("app")[2] for result in done.images} == {f":{TAG}", f"@{image.signature.digest}"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(DOUBLES))
def test_every_kind_of_registry_has_them_after_a_copy(lab: SyncLab, image: SignedImage, kind: str) -> None:
    """With the behaviour of its double, but for logins; the repository is there."""
    target = lab.add_registry(replace(DOUBLES[kind].behaviour, users={}, bearer=None, anonymous=()))
    lab.push(lab.content.image(1), tags=("before",), to=target)
    done = lab.run(lab.rule(to=[(target, REPOSITORY)]), **ALL)
    assert done.outcomes == ["copied"] * 5
    assert seen(target, image) == whole(image)
    back = lab.add_registry()
    assert lab.run(lab.rule(origin=target, to=[(back, REPOSITORY)]), **ALL).outcomes == ["copied"] * 5
    assert_whole(lab, image, back)
