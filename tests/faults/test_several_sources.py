"""Several sources for one rule, and tags that are taken by what the destination has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.config import Only, Settings
from image_syncer.config.loader import load_configuration
from image_syncer.embedded import Behaviour, Fault
from image_syncer.errors import ConfigurationError
from image_syncer.reporting.chosen_work import find_unfinished
from image_syncer.telemetry import Outcome
from support.sync_runs import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import MadeManifest
    from image_syncer.telemetry import ImageResult, Report
    from support.sync_runs import SyncLab


def run(lab: SyncLab, tmp_path: Path, rule: str, **settings: object) -> tuple[Report, list[ImageResult]]:
    """Sync by `rule`, in which {source}, {other} and {destination} are registries."""
    path = tmp_path / "own.yaml"
    hosts = {"source": lab.source, "other": lab.registries[-1], "destination": lab.destination}
    entries = "".join(f"  '{one.address}': {{insecure: true}}\n" for one in set(hosts.values()))
    rule = rule.format(**{name: one.address for name, one in hosts.items()})
    path.write_text(f"version: 2\nregistries:\n{entries}rules:\n- {{{rule}}}\n", encoding="utf-8")
    images: list[ImageResult] = []
    configuration = load_configuration(config=str(path), environ={})
    report = image_syncer.sync(configuration, Settings(workers=1, **settings), on_image=images.append)  # type: ignore[arg-type]
    return report, images


MERGED = "source: ['{source}/app', '{other}/app'], destination: '{destination}/app'"


def test_the_tags_of_all_sources_go_into_one_repository(lab: SyncLab, tmp_path: Path) -> None:
    other = lab.add_registry()
    first = lab.push(lab.content.image(1), "app", ("1", "2"))
    second = lab.push(lab.content.image(1), "app", ("3",), to=other)
    report, images = run(lab, tmp_path, MERGED)
    assert (report.exit_code, len(images)) == (0, 3)
    for tag, image in (("1", first), ("2", first), ("3", second)):
        lab.assert_arrived(image, "app", tag)
    assert [one.counters.values().count("list tags") for one in (lab.source, other)] == [1, 1]


def test_tags_that_collide_are_found_before_anything_moves(lab: SyncLab, tmp_path: Path) -> None:
    other = lab.add_registry()
    lab.push(lab.content.image(1), "app", ("1", "2"))
    lab.push(lab.content.image(1), "app", ("2", "3"), to=other)
    with pytest.raises(ConfigurationError) as caught:
        run(lab, tmp_path, MERGED)
    [problem] = caught.value.problems
    assert problem.what == (
        f"{other.address}/app:2 and {lab.source.address}/app:2 would both go to {lab.destination.address}/app:2"
    )
    assert lab.destination.storage.repositories() == []


@pytest.mark.extended
def test_a_source_that_gives_no_list_does_not_hold_the_other(lab: SyncLab, tmp_path: Path) -> None:
    other = lab.add_registry()
    image = lab.push(lab.content.image(1), "app", ("1",))
    lab.push(lab.content.image(1), "app", ("2",), to=other)
    other.behaviour = Behaviour(faults=(Fault("list tags", status=403, times=None),))
    report, images = run(lab, tmp_path, MERGED, retries=0)
    assert report.exit_code == 1
    assert {one.outcome: one.source for one in images} == {
        Outcome.COPIED: f"{lab.source.address}/app:1",
        Outcome.FAILED: f"{other.address}/app",
    }
    lab.assert_arrived(image, "app", "1")


@pytest.mark.extended
def test_too_few_repositories_fail_the_rule(lab: SyncLab, tmp_path: Path) -> None:
    lab.image(1, "team/a")
    lab.image(1, "team/b-dev")
    rule = "source: '{source}/**', destination: '{destination}/**', exclude_regex: 'dev$', min_repositories: 2"
    report, [image] = run(lab, tmp_path, rule, report_path=str(lab.report_path))
    assert image.outcome is Outcome.FAILED
    assert "means 1 of the 2 repositories" in (image.reason or "")
    assert lab.destination.storage.repositories() == []
    [catalog] = find_unfinished(image_syncer.load_report(str(lab.report_path))).catalogs
    assert (catalog.exclude_regex, catalog.min_repositories) == ("dev$", 2)
    assert report.exit_code == 1


TAGS = ("same", "other", "new")


@pytest.fixture
def images(lab: SyncLab) -> dict[str, MadeManifest]:
    """At the source under TAGS; at the destination one is the same, one is another, one is not there."""
    made = {tag: lab.push(lab.content.index(platforms=("linux/amd64", "linux/arm64")), tags=(tag,)) for tag in TAGS}
    lab.push(made["same"], tags=("same",), to=lab.destination)
    made["before"] = lab.push(lab.content.index(), tags=("other",), to=lab.destination)
    return made


@pytest.mark.extended
@pytest.mark.parametrize("os_names", [(), ("linux",)])
@pytest.mark.parametrize(
    ("only", "outcomes"),
    [
        (Only.CHANGED, {"same": "unchanged", "other": "copied", "new": "skipped"}),
        (Only.MISSING, {"same": "unchanged", "other": "skipped", "new": "copied"}),
    ],
)
def test_only(
    lab: SyncLab, images: dict[str, MadeManifest], only: Only, outcomes: dict[str, str], os_names: tuple[str, ...]
) -> None:
    wanted = image_syncer.PlatformFilter(os_names=os_names)
    done = lab.run(lab.rule(tags=TAGS, only=only), platform_filter=wanted)
    assert {image.source.rpartition(":")[2]: image.outcome.value for image in done.images} == outcomes
    skipped = next(image for image in done.images if image.outcome is Outcome.SKIPPED)
    assert f"the rule has `only: {only}`" in (skipped.reason or "")
    changed = only is Only.CHANGED
    assert lab.destination.storage.tag(REPOSITORY, "other") == (images["other"] if changed else images["before"]).digest
    assert (lab.destination.storage.tag(REPOSITORY, "new") is None) is changed
    if not os_names:
        assert done.at(lab.source).count("get manifest") == 3  # of the one that is copied, with its children
    checked = lab.verify(lab.rule(tags=TAGS, only=only), platform_filter=wanted)
    assert {image.outcome for image in checked.images} == {Outcome.EQUAL, Outcome.SKIPPED}


@pytest.mark.extended
def test_a_failure_is_tried_again_with_only(lab: SyncLab, images: dict[str, MadeManifest]) -> None:
    lab.source.behaviour = Behaviour(faults=(Fault("get manifest", status=403, times=None),))
    lab.run(lab.rule(tags=("other",), only=Only.CHANGED), exit_code=1, retries=0)
    [rule] = find_unfinished(image_syncer.load_report(str(lab.report_path))).rules
    assert rule.only is Only.CHANGED
    assert replace(rule, only=Only.ALL) != rule
