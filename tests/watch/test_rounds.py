"""Many rounds in one process: never two at once, nothing that is left behind, and quiet repositories left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from image_syncer import Settings, load_configuration
from image_syncer.embedded import Behaviour
from image_syncer.watch import WatchSettings
from image_syncer.watch.schedule import IntervalSchedule
from image_syncer.watch.watcher import run_watch
from support import watch_driver
from support.sync_process import SOURCE_ROOTS
from support.watch_driver import UntilDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import Configuration, ImageResult, Report, Snapshot
    from image_syncer.watch.orders import WatchOrder
    from support.watch_world import World

OFTEN = IntervalSchedule("", 0.01)


@dataclass
class Looker:
    """Looks on, and ends the watch after so many runs."""

    runs: int
    after: Callable[[int], None] = lambda number: None
    under_way: int = 0
    reports: list[Report] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    most: int = 0

    def on_line(self, text: str) -> None:
        self.lines.append(text)

    on_trouble = on_line

    def on_configuration(self, configuration: Configuration) -> None: ...

    def on_begin(self, order: WatchOrder) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)

    def on_progress(self, snapshot: Snapshot) -> None: ...

    def on_image(self, result: ImageResult) -> None: ...

    def on_end(self, order: WatchOrder, report: Report | None) -> None:
        self.under_way -= 1
        assert report is not None
        self.reports.append(report)
        self.after(len(self.reports))
        if self.is_done:
            os.kill(os.getpid(), signal.SIGTERM)

    @property
    def is_done(self) -> bool:
        """Whether the watch is to end."""
        return len(self.reports) >= self.runs


def watch(world: World, looker: Looker, settings: WatchSettings, **more: object) -> int:
    words = {"auth": str(world.files.auth), "images": str(world.files.images), "environ": {}}
    return run_watch(
        lambda: load_configuration(**words),  # type: ignore[arg-type]
        Settings(workers=1, progress_interval_s=0.05, **more),  # type: ignore[arg-type]
        replace(settings, schedule=UntilDone("", OFTEN.every_s, watcher=looker)),
        view=looker,
        version="1",
    )


@pytest.mark.extended
@pytest.mark.parametrize("runs", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_nothing_is_left_behind_by_many_rounds(world: World, runs: int) -> None:
    """Every tenth run copies something, and so has a worker."""
    world.write_auth()
    world.write_rules("team/app")
    world.push("team/app", "v1")
    given = {name: str(getattr(world.files, name)) for name in ("auth", "images")}
    words = json.dumps({**given, "state": str(world.directory / "journal"), "runs": runs})
    told = []
    with subprocess.Popen(
        [sys.executable, watch_driver.__file__, words],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS)},
    ) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            told.append(json.loads(line))
            if len(told) % 10 == 5:
                world.push("team/app", "v1")
    assert driver.returncode == 0
    assert len(told) == runs
    assert {measures["exit_code"] for measures in told} == {0}
    assert sum(measures["blobs"] for measures in told) >= 2 * (runs // 10)
    quiet = [measures for measures in told if measures["blobs"] == 0]
    after = quiet[10:]  # by then a worker was there, and what is made once is made
    for name in ("files", "tasks"):
        assert max(measures[name] for measures in after) <= max(measures[name] for measures in quiet[:10]), name
    assert after[-1]["kib"] - after[0]["kib"] < 6 * 1024, [measures["kib"] for measures in told]


@pytest.mark.extended
def test_quiet_repositories_of_a_catalog_cost_nothing_but_the_list(world: World) -> None:
    names = [f"team/app{number}" for number in range(6)]
    for name in names:
        world.push(name, "v1")
    source, destination = world.source.address, world.destination.address
    rule = f"  - source: {source}/team/**\n    destination: {destination}/mirror/**\n"
    hosts = "".join(f"  {address}: {{insecure: true}}\n" for address in (source, destination))
    config = world.directory / "own.yaml"
    config.write_text(f"version: 2\nregistries:\n{hosts}rules:\n{rule}")
    looked_at: list[int] = []

    def after(number: int) -> None:
        looked_at.append(looker.reports[-1].totals.images)
        if number == 9:
            world.push("team/app3", "v2")

    looker = Looker(16, after)
    code = run_watch(
        lambda: load_configuration(config=str(config), environ={}),
        Settings(workers=1),
        WatchSettings(UntilDone("", OFTEN.every_s, watcher=looker), rest=4),
        view=looker,
        version="1",
    )
    assert code == 0
    assert looked_at[:3] == [6, 6, 6]
    assert sum(looked_at[4:9]) < 6 * 5 / 2
    assert max(looked_at[4:9]) > 0
    assert all(report.exit_code == 0 for report in looker.reports)
    for first in range(3, 13):
        assert sum(looked_at[first : first + 4]) >= 6, "each is looked at in four rounds once at least"
    assert world.has("mirror/team/app3", "v2")


@pytest.mark.extended
def test_named_rules_rest_too_and_a_round_may_be_idle(world: World) -> None:
    world.write_auth()
    world.write_rules("team/app")
    world.push("team/app", "v1")
    looker = Looker(8)
    assert watch(world, looker, WatchSettings(OFTEN, rest=1000)) == 0
    assert world.source.counters.values().requests.get("list tags", 8) == 8
    assert [report.totals.images for report in looker.reports] == [1] * 8


@pytest.mark.extended
def test_a_round_that_takes_longer_than_the_interval_is_alone(world: World) -> None:
    world.write_auth()
    world.write_rules("team/app")
    world.source.behaviour = Behaviour(latency_s=0.05)
    world.push("team/app", "v1")
    looker = Looker(4)
    assert watch(world, looker, WatchSettings(OFTEN, rest=1)) == 0
    assert looker.most == 1
    assert any("the round took longer than the schedule allows" in line for line in looker.lines)


@pytest.mark.extended
def test_a_run_that_cannot_begin_is_told_and_the_next_one_does(world: World) -> None:
    world.write_auth()
    world.write_rules("team/app")
    world.push("team/app", "v1")
    folder = world.directory / "reports"
    folder.mkdir()

    class Refused(Looker):
        def on_end(self, order: WatchOrder, report: Report | None) -> None:
            if report is None:
                self.under_way -= 1
                folder.mkdir()
                return
            if len(self.reports) == 0:
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()
            super().on_end(order, report)

    looker = Refused(3)
    settings = WatchSettings(OFTEN, rest=1)
    assert watch(world, looker, settings, report_path=str(folder / "report-{time}.json")) == 0
    assert any("the round failed: " in line for line in looker.lines)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.extended
def test_mistakes_of_ours_in_a_row_end_the_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.errors import InternalError

    def check(self: Ledger) -> None:
        raise InternalError("made up")

    monkeypatch.setattr(Ledger, "check", check)
    world.write_auth()
    world.write_rules("team/app")
    world.push("team/app", "v1")
    looker = Looker(10)
    assert watch(world, looker, WatchSettings(OFTEN, rest=1)) == 70
    assert len(looker.reports) == 3
