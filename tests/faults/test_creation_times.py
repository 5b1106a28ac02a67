"""Tags by the time at which their images were created: what is asked for, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.config import CreatedSelection, TagSelection
from image_syncer.embedded import Behaviour, Fault
from image_syncer.telemetry.recorded_report import load_report
from image_syncer.telemetry.unfinished import find_unfinished

if TYPE_CHECKING:
    from support.sync_runs import SyncLab

# The names are in the other order.
TIMES = {"z": "2021-01-01T00:00:00Z", "y": "2022-06-01T00:00:00.5Z", "x": "2023-01-01T00:00:00+01:00"}
JUNE_2022 = 1_654_041_600.0  # 2022-06-01T00:00:00Z


def push_all(lab: SyncLab) -> None:
    for tag, created in TIMES.items():
        lab.push(lab.content.image(1, created=created), tags=(tag,))


def tags_of(lab: SyncLab, selection: TagSelection, **settings: object) -> list[str]:
    done = lab.run(lab.rule(tags=selection), **settings)
    return sorted(image.source.rpartition(":")[2] for image in done.images if not image.reason)


@pytest.mark.parametrize(
    ("created", "wanted"),
    [
        (CreatedSelection(newest=1), ["x"]),
        (CreatedSelection(newest=2), ["x", "y"]),
        (CreatedSelection(after=JUNE_2022), ["x", "y"]),
        (CreatedSelection(after=JUNE_2022 + 1), ["x"]),
        (CreatedSelection(within_s=3600.0), []),
    ],
)
def test_which_tags_are_copied(lab: SyncLab, created: CreatedSelection, wanted: list[str]) -> None:
    push_all(lab)
    lab.source.behaviour = Behaviour(max_page_size=2)
    assert tags_of(lab, TagSelection(created=created)) == wanted


def test_what_is_asked_for_is_what_is_left_by_the_others(lab: SyncLab) -> None:
    push_all(lab)
    lab.push(lab.content.image(1), tags=tuple(f"other{number}" for number in range(20)))
    selection = TagSelection(include=("?",), created=CreatedSelection(after=2e9))
    assert tags_of(lab, selection) == []
    counted = lab.source.counters.values()
    assert (counted.count("get manifest"), counted.count("get blob")) == (3, 3)


def test_tags_of_one_image_share_its_configuration_and_equal_times_go_by_name(lab: SyncLab) -> None:
    lab.push(lab.content.image(1), tags=tuple(f"t{number:02}" for number in range(40)))
    assert tags_of(lab, TagSelection(created=CreatedSelection(newest=1)), dry_run=True) == ["t39"]
    counted = lab.source.counters.values()
    assert counted.count("get blob") <= 16  # as many as are asked about together
    assert counted.count("get manifest") == 40 + 1


def test_of_an_index_its_first_image_counts(lab: SyncLab) -> None:
    for tag, created in TIMES.items():
        images = [lab.content.image(1, created=created), lab.content.image(1, created="2030-01-01T00:00:00Z")]
        lab.push(lab.content.index(images), tags=(tag,))
    assert tags_of(lab, TagSelection(created=CreatedSelection(newest=1))) == ["x"]


def test_an_image_that_does_not_say_is_the_oldest(lab: SyncLab) -> None:
    push_all(lab)
    lab.push(lab.content.image(1, created=None), tags=("zz",))
    lab.push(lab.content.artifact("application/x"), tags=("zzz",))
    assert tags_of(lab, TagSelection(created=CreatedSelection(newest=3))) == ["x", "y", "z"]


def test_where_a_time_cannot_be_learnt_the_rule_fails_as_a_whole(lab: SyncLab) -> None:
    push_all(lab)
    lab.source.behaviour = Behaviour(faults=(Fault("get manifest", status=500, times=None, match="/y"),))
    selection = TagSelection(created=CreatedSelection(newest=2, after=1.0, within_s=1e9), min_tags=1)
    done = lab.run(lab.rule(tags=selection), retries=0, exit_code=1)
    assert done.failure.error is not None
    assert done.failure.error["status"] == 500
    assert lab.destination.storage.repositories() == []
    [left] = find_unfinished(load_report(str(lab.report_path))).rules
    assert left.tags == selection


def test_min_tags_counts_what_is_left(lab: SyncLab) -> None:
    push_all(lab)
    selection = TagSelection(created=CreatedSelection(after=JUNE_2022), min_tags=3)
    done = lab.run(lab.rule(tags=selection), exit_code=1)
    assert done.failure.error is not None
    assert "the rule means 2 of the 3 tags" in done.failure.error["message"]
