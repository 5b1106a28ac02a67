"""What a run left undone, done by another one from its report alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import Destination, Rule, TagSelection
from image_syncer.config.tag_filters import VersionSelection
from image_syncer.embedded import Behaviour, Fault
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Platform, PlatformFilter, Repository
from image_syncer.reporting.chosen_work import Unfinished, find_unfinished
from image_syncer.reporting.recorded_report import load_report
from support.sync_runs import REPOSITORY, TAG, SyncLab

if TYPE_CHECKING:
    from pathlib import Path

FOREVER = None


def unfinished_of(lab: SyncLab) -> Unfinished:
    return find_unfinished(load_report(str(lab.report_path)))


def broken(operation: str, match: str = "") -> Behaviour:
    return Behaviour(faults=(Fault(operation, status=500, times=FOREVER, match=match),), check_references=False)


def test_only_what_failed_is_tried_again(lab: SyncLab) -> None:
    lab.push(lab.content.image(1), tags=("good",))
    bad = lab.push(lab.content.image(1), tags=("bad",))
    lab.destination.behaviour = broken("put manifest", "/bad")
    assert lab.run(retries=0, exit_code=1).outcomes == ["copied", "failed"]
    lab.destination.behaviour = Behaviour(check_references=False)
    left = unfinished_of(lab)
    [rule] = left.rules
    assert rule.pairs() == lab.rule(tags=("bad",)).pairs()
    done = lab.run(*left.rules)
    assert done.outcomes == ["copied"]
    lab.assert_arrived(bad, tag="bad")
    assert unfinished_of(lab).rules == ()


def test_a_rule_whose_tags_could_not_be_listed_is_tried_again_as_a_whole(lab: SyncLab) -> None:
    for tag in ("v1", "v2", "v2-rc", "other"):
        lab.push(lab.content.image(1), tags=(tag,))
    lab.source.behaviour = broken("list tags")
    versions = VersionSelection(">=1", newest=2)
    selection = TagSelection(regex="^v", exclude_regex="beta$", include=("v*",), exclude=("*-rc",), versions=versions)
    rule = lab.rule(tags=selection, platforms=(Platform("linux", "amd64"),))
    assert lab.run(rule, retries=0, exit_code=1).failure.rule == {
        "platforms": ["linux/amd64"],
        "regex": "^v",
        "exclude_regex": "beta$",
        "include": ["v*"],
        "exclude": ["*-rc"],
        "versions": {"within": ">=1", "prereleases": False, "newest": 2, "suffix": ""},
    }
    lab.source.behaviour = Behaviour()
    left = unfinished_of(lab)
    assert [(one.source, one.tags, one.destinations, one.platforms) for one in left.rules] == [
        (rule.source, rule.tags, rule.destinations, rule.platforms)
    ]
    assert lab.run(*left.rules).outcomes == ["copied", "copied"]


@pytest.mark.extended
def test_an_image_of_such_a_rule_is_not_tried_twice(lab: SyncLab) -> None:
    """Where the list breaks off, images of its first pages may have failed on their own."""
    path = lab.report_path
    lab.image(1)
    lab.run()
    document = json.loads(path.read_text(encoding="utf-8"))
    repository, target = f"{lab.source.address}/{REPOSITORY}", f"{lab.destination.address}/{REPOSITORY}"
    document["images"] = [
        {"source": f"{repository}:a", "destination": f"{target}:a", "outcome": "failed"},
        {"source": f"{repository}:a", "destination": f"{target}:renamed", "outcome": "failed"},
        {"source": f"{repository}:b", "destination": f"{target}:b", "outcome": "not tried"},
        {"source": repository, "destination": target, "outcome": "failed", "rule": {"exclude": ["b"]}},
    ]
    path.write_text(json.dumps(document), encoding="utf-8")
    whole, renamed, excluded = unfinished_of(lab).rules
    assert whole.tags == TagSelection(exclude=("b",))
    assert [str(pair[1]) for rule in (renamed, excluded) for pair in rule.pairs()] == [
        f"{target}:renamed",
        f"{target}:b",
    ]


@pytest.mark.extended
@pytest.mark.parametrize("platforms", [(), (Platform("linux", "arm64"),)])
def test_platforms_of_the_run_and_of_its_rules_hold_again(lab: SyncLab, platforms: tuple[Platform, ...]) -> None:
    index = lab.push(lab.content.index())
    lab.destination.behaviour = broken("put manifest")
    wanted = PlatformFilter(os_names=("linux",), architectures=("amd64",))
    rules = (lab.rule(platforms=platforms), lab.rule(digest=index.digest, platforms=platforms))
    lab.run(*rules, platform_filter=wanted, force=True, retries=0, exit_code=1)
    lab.destination.behaviour = Behaviour(check_references=False)
    left = unfinished_of(lab)
    assert (left.platform_filter, left.force) == (wanted, True)
    done = lab.run(*left.rules, platform_filter=left.filter_or(PlatformFilter()))
    assert done.outcomes == ["copied", "copied"]
    tag = lab.destination.storage.tag(REPOSITORY, TAG)
    assert tag is not None
    assert tag != index.digest
    first = done.images[0].destination_digest
    assert lab.run(*rules, platform_filter=wanted).outcomes == ["unchanged", "unchanged"]
    assert first == tag


@pytest.mark.extended
def test_destinations_of_one_image_are_filled_together(lab: SyncLab) -> None:
    image = lab.image(1)
    other = lab.add_registry(Behaviour(check_references=False))
    to = [(lab.destination, REPOSITORY), (other, "elsewhere/app")]
    lab.source.behaviour = broken("get blob")
    lab.run(lab.rule(to=to), retries=0, exit_code=1)
    lab.source.behaviour = Behaviour()
    [rule] = unfinished_of(lab).rules
    assert len(rule.destinations) == 2
    lab.run(rule)
    lab.assert_arrived(image)
    lab.assert_arrived(image, "elsewhere/app", at=other)


@pytest.mark.extended
def test_what_was_not_tried_at_all_is_tried(lab: SyncLab) -> None:
    for number in range(20):
        lab.push(lab.content.image(1), tags=(f"t{number}",))
    rules = [lab.rule(tags=(f"t{number}",)) for number in range(20)]
    lab.source.behaviour = Behaviour(latency_s=0.3)
    done = lab.run(*rules, lab.rule("team/other", ()), deadline_s=0.2, exit_code=1)
    assert set(done.outcomes) == {"not tried"}
    assert len(done.images) == 21
    lab.source.behaviour = Behaviour()
    left = unfinished_of(lab)
    assert len(left.rules) == 21
    assert lab.run(*left.rules, exit_code=1).outcomes == ["copied"] * 20 + ["failed"]  # there is no team/other


def rules_from(tmp_path: Path, image: dict[str, Any], **settings: Any) -> Unfinished:
    totals = {
        "outcomes": {"failed": 1},
        "requests": {},
        **dict.fromkeys(("bytes_moved", "bytes_planned", "blobs_moved", "blobs_mounted", "blobs_present"), 0),
    }
    document = {
        "images": [image],
        "totals": totals,
        "settings": settings,
        "started_at": "2026-01-01T00:00:00Z",
        "seconds": 1,
        "warnings": [],
    }
    path = tmp_path / "old.json"
    path.write_text(json.dumps(document))
    return find_unfinished(load_report(str(path)))


FAILED = {"source": "a.example/x:1", "destination": "b.example/x:1", "outcome": "failed"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"source": "UPPER case"}, "cannot be tried again: UPPER case: "),
        ({"destination": "b.example/x"}, "the destination has no tag"),
        ({"rule": {"platforms": ["amd64"]}}, "is not a platform"),
        ({"rule": {"platforms": "linux/amd64"}}, "platforms is no list of texts"),
        ({"source": "a.example/x", "rule": {"regex": "("}}, "regex cannot be used"),
        ({"source": "a.example/x", "rule": {"regex": 7}}, "regex is no text"),
        ({"source": "a.example/x", "rule": {"exclude_regex": "("}}, "exclude_regex cannot be used"),
        ({"source": "a.example/x", "rule": {"versions": []}}, "versions is no object"),
        ({"source": "a.example/x", "rule": {"versions": {"within": 7}}}, "versions has what is no text"),
        ({"source": "a.example/x", "rule": {"versions": {"within": "x y"}}}, "no range of versions"),
        ({"source": "a.example/x", "rule": {"versions": {"newest": 0}}}, "newest is no number from 1"),
        ({"rule": []}, "the rule of one of its images is no JSON object"),
    ],
)
def test_a_report_that_no_run_of_ours_wrote_is_explained(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rules_from(tmp_path, FAILED | changes)
    assert text in str(caught.value)


@pytest.mark.extended
def test_a_report_of_an_old_release_may_not_tell_its_platforms(tmp_path: Path) -> None:
    left = rules_from(tmp_path, FAILED, platforms="os linux")
    with pytest.raises(ConfigurationError, match="does not say which platforms"):
        left.filter_or(PlatformFilter())
    given = PlatformFilter(os_names=("linux",))
    assert left.filter_or(given) == given
    assert rules_from(tmp_path, FAILED, platforms=None).filter_or(PlatformFilter()) == PlatformFilter()
    assert left.rules == (
        Rule(Repository("a.example", "x"), TagSelection(names=("1",)), (Destination(Repository("b.example", "x")),)),
    )


def test_a_verification_is_nothing_to_try_again(lab: SyncLab) -> None:
    lab.image(1)
    lab.verify(exit_code=1)
    with pytest.raises(ConfigurationError, match="the report of a verification"):
        unfinished_of(lab)
