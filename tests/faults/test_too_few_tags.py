"""The guard of a rule: where it selects fewer tags than it should, none of its images begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.config import Settings, TagSelection
from image_syncer.config.loader import load_configuration
from image_syncer.config.tag_filters import VersionSelection
from image_syncer.embedded import Behaviour
from image_syncer.reporting.chosen_work import find_unfinished
from image_syncer.reporting.recorded_report import load_report
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.telemetry import ImageResult
    from support.sync_runs import SyncLab

TAGS = ("1.0", "1.1", "2.0", "latest", "nightly")


def push_tags(lab: SyncLab) -> None:
    for tag in TAGS:
        lab.push(lab.content.image(1), tags=(tag,))


@pytest.mark.parametrize(
    "selection",
    [
        TagSelection(min_tags=6),
        TagSelection(include=("1.*",), min_tags=3),
        TagSelection(versions=VersionSelection(">=1", newest=9), min_tags=4),
    ],
)
def test_no_image_begins_where_there_are_too_few(lab: SyncLab, selection: TagSelection) -> None:
    push_tags(lab)
    lab.source.behaviour = Behaviour(max_page_size=2)
    rule = lab.rule(tags=selection)
    done = lab.run(rule, exit_code=1)
    chosen = len(selection.select(TAGS))
    assert done.failure.error is not None
    assert f"the rule means {chosen} of the 5 tags" in done.failure.error["message"]
    assert f"wants {selection.min_tags} at least" in done.failure.error["message"]
    assert lab.destination.storage.repositories() == []
    [left] = find_unfinished(load_report(str(lab.report_path))).rules
    assert left.tags == selection


@pytest.mark.parametrize(
    "selection",
    [
        TagSelection(min_tags=5),
        TagSelection(exclude=("latest",), min_tags=3),
        TagSelection(versions=VersionSelection(">=1", newest=2), min_tags=2),
    ],
)
def test_enough_are_copied_each_once(lab: SyncLab, selection: TagSelection) -> None:
    push_tags(lab)
    lab.source.behaviour = Behaviour(max_page_size=2)
    done = lab.run(lab.rule(tags=selection))
    assert sorted(image.source.rpartition(":")[2] for image in done.images) == selection.select(TAGS)


@pytest.mark.extended
def test_each_repository_of_a_catalog_rule_for_itself(lab: SyncLab, tmp_path: Path) -> None:
    for name, tags in (("team/full", ("1", "2")), ("team/short", ("1",))):
        lab.push(lab.content.image(1), name, tags)
    source, destination = lab.source.address, lab.destination.address
    path = tmp_path / "own.yaml"
    path.write_text(
        f"version: 2\nregistries: {{'{source}': {{insecure: true}}, '{destination}': {{insecure: true}}}}\n"
        f"rules: [{{source: '{source}/team/*', destination: '{destination}/**', min_tags: 2}}]\n",
        encoding="utf-8",
    )
    images: list[ImageResult] = []
    configuration = load_configuration(config=str(path), environ={})
    report = image_syncer.sync(configuration, Settings(workers=1), on_image=images.append)
    assert report.exit_code == 1
    assert {image.source.removeprefix(f"{source}/"): image.outcome for image in images} == {
        "team/full:1": Outcome.COPIED,
        "team/full:2": Outcome.COPIED,
        "team/short": Outcome.FAILED,
    }
