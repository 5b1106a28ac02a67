"""Tags by the time at which their images were created: what is asked for, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.config import TagSelection
from image_syncer.config.tag_filters import CreatedSelection
from image_syncer.discovery import creation_times
from image_syncer.embedded import Behaviour, Fault
from image_syncer.reporting.chosen_work import find_unfinished
from image_syncer.reporting.recorded_report import load_report

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


@pytest.mark.extended
def test_what_is_asked_for_is_what_is_left_by_the_others(lab: SyncLab) -> None:
    push_all(lab)
    lab.push(lab.content.image(1), tags=tuple(f"other{number}" for number in range(20)))
    selection = TagSelection(include=("?",), created=CreatedSelection(after=2e9))
    assert tags_of(lab, selection) == []
    counted = lab.source.counters.values()
    assert (counted.count("get manifest"), counted.count("get blob")) == (3, 3)


@pytest.mark.extended
def test_tags_of_one_image_share_its_configuration_and_equal_times_go_by_name(lab: SyncLab) -> None:
    lab.push(lab.content.image(1), tags=tuple(f"t{number:02}" for number in range(40)))
    assert tags_of(lab, TagSelection(created=CreatedSelection(newest=1)), dry_run=True) == ["t39"]
    counted = lab.source.counters.values()
    assert counted.count("get blob") <= 16  # as many as are asked about together
    assert counted.count("get manifest") == 40 + 1


@pytest.mark.extended
def test_of_an_index_its_first_image_counts(lab: SyncLab) -> None:
    for tag, created in TIMES.items():
        images = [lab.content.image(1, created=created), lab.content.image(1, created="2030-01-01T00:00:00Z")]
        lab.push(lab.content.index(images), tags=(tag,))
    assert tags_of(lab, TagSelection(created=CreatedSelection(newest=1))) == ["x"]


@pytest.mark.extended
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


@pytest.mark.extended
def test_min_tags_counts_what_is_left(lab: SyncLab) -> None:
    push_all(lab)
    selection = TagSelection(created=CreatedSelection(after=JUNE_2022), min_tags=3)
    done = lab.run(lab.rule(tags=selection), exit_code=1)
    assert done.failure.error is not None
    assert "the rule means 2 of the 3 tags" in done.failure.error["message"]


class Heard:
    """What is logged of the cost, with how many manifests had been asked for by then."""

    def __init__(self, lab: SyncLab) -> None:
        self._lab = lab
        self.lines: list[tuple[str, dict[str, object], int]] = []

    def info(self, event: str, **fields: object) -> None:
        self._hear(f"info: {event}", fields)

    def warning(self, event: str, **fields: object) -> None:
        self._hear(f"warning: {event}", fields)

    def _hear(self, event: str, fields: dict[str, object]) -> None:
        self.lines.append((event, fields, self._lab.source.counters.values().count("get manifest")))


@pytest.mark.parametrize("dry_run", [True, False], ids=["plan", "sync"])
@pytest.mark.parametrize("tags", [3, 100])
def test_the_cost_is_told_before_it_arises(
    lab: SyncLab, monkeypatch: pytest.MonkeyPatch, tags: int, *, dry_run: bool
) -> None:
    lab.push(lab.content.image(1), tags=tuple(f"v{number}" for number in range(tags)))
    heard = Heard(lab)
    monkeypatch.setattr(creation_times, "_log", heard)
    assert len(tags_of(lab, TagSelection(created=CreatedSelection(newest=2)), dry_run=dry_run)) == 2
    level = "warning" if tags == 100 else "info"
    where = f"{lab.source.address}/team/app"
    told = {"repository": where, "tags": tags, "requests": f"{tags} to {3 * tags}"}
    assert heard.lines == [(f"{level}: creation times are asked for", told, 0)]
    asked = lab.source.counters.values()
    copying = 2 + 2  # the manifests of the two that were chosen, and the blobs of their image
    assert tags <= asked.count("get manifest") + asked.count("get blob") <= 3 * tags + copying


@pytest.mark.extended
def test_many_small_repositories_are_told_of_together(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    image = lab.content.image(1)
    names = [f"team/app{number}" for number in range(12)]
    for name in names:
        lab.push(image, name, tuple(f"v{number}" for number in range(40)))
    heard = Heard(lab)
    monkeypatch.setattr(creation_times, "_log", heard)
    selection = TagSelection(created=CreatedSelection(newest=1))
    lab.run(*(lab.rule(name, selection) for name in names), dry_run=True)
    assert [fields for event, fields, _ in heard.lines if event.startswith("warning")] == [
        {"tags_so_far": 120, "requests": "120 to 360"}
    ]
