"""When workers are started: as soon as something must move, and never where nothing has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.dispatch.supervisor import Supervisor

if TYPE_CHECKING:
    from support.sync_runs import SyncLab


@pytest.fixture
def starts(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """What the source had been asked for whenever workers were started."""
    seen: list[dict[str, int]] = []
    start = Supervisor.start

    def noted(supervisor: Supervisor) -> None:
        seen.append(dict(lab.source.counters.values().requests))
        start(supervisor)

    monkeypatch.setattr(Supervisor, "start", noted)
    return seen


@pytest.mark.extended
def test_they_start_before_the_first_manifest_is_read(lab: SyncLab, starts: list[dict[str, int]]) -> None:
    lab.image()
    lab.image(repository="team/other")
    assert lab.run().outcomes == ["copied"] * 2
    assert len(starts) == 1
    assert "get manifest" not in starts[0]


def test_they_are_not_started_where_nothing_has_changed(lab: SyncLab, starts: list[dict[str, int]]) -> None:
    lab.image()
    lab.run()
    starts.clear()
    assert lab.run().outcomes == ["unchanged"]
    assert starts == []


@pytest.mark.extended
def test_they_are_not_started_for_a_dry_run_or_an_image_that_is_not_there(
    lab: SyncLab, starts: list[dict[str, int]]
) -> None:
    lab.image()
    assert lab.run(dry_run=True).outcomes == ["would be copied"]
    assert lab.run(lab.rule(tags=("gone",)), exit_code=1).outcomes == ["failed"]
    assert starts == []
