"""Runs the tools of a scenario in turn, and sets them against each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perf.errors import Mistake
from perf.figures import derive
from perf.measure import read_report, run_measured
from perf.noise import Spread, verdict
from perf.tools import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perf.measure import Measurement
    from perf.scenario import Scenario
    from perf.staging import Stage
    from perf.task import Wanted
    from perf.tools import Tool

__all__ = ["COMPARED", "Comparison", "Result", "alternate", "measure_once", "order_of_turn"]

COMPARED = ("wall_s", "cpu_s")
"""The figures for which a verdict is given; less of them is better."""


@dataclass(frozen=True)
class Comparison:
    """A tool against image-syncer, in one figure."""

    ratio: float
    """The tool's median by image-syncer's: above 1, it needs more."""
    verdict: str
    """`less` or `more` (than image-syncer), `tie`, or `?`; see perf/noise.py."""


@dataclass
class Result:
    """All counted runs of a scenario, by tool."""

    scenario: Scenario
    wanted: Wanted
    kinds: dict[str, str]
    runs: dict[str, list[Measurement]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """Peers that could not take part, and why."""
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of a profiled run: by tool, each kind of code's share of the CPU."""

    @property
    def moves(self) -> bool:
        """Whether there is anything to copy."""
        return not all(destination.holds for destination in self.scenario.destinations)

    def spreads(self, tool: str) -> dict[str, Spread]:
        """Each figure over the runs of a tool; only those that every run has."""
        destinations = len(self.scenario.destinations)
        rows = [derive(measured, self.wanted, destinations, moves=self.moves) for measured in self.runs[tool]]
        names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
        return {name: Spread.of([row[name] for row in rows]) for name in names}

    def compare(self, tool: str) -> dict[str, Comparison]:
        """The tool against image-syncer; empty for itself."""
        if tool == OURS or not self.runs.get(OURS):
            return {}
        ours, theirs = self.spreads(OURS), self.spreads(tool)
        return {
            name: Comparison(theirs[name].median / max(ours[name].median, 1e-9), verdict(theirs[name], ours[name]))
            for name in COMPARED
            if name in ours and name in theirs
        }

    def as_data(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "scenario": self.scenario.name,
            "content": vars(self.wanted),
            "places": self.kinds,
            "left_out": self.left_out,
            "tools": {
                name: {
                    "figures": {figure: spread.as_data() for figure, spread in self.spreads(name).items()},
                    "against_image_syncer": {
                        figure: {"ratio": found.ratio, "verdict": found.verdict}
                        for figure, found in self.compare(name).items()
                    },
                    "runs": [measured.as_data() for measured in measurements],
                }
                for name, measurements in self.runs.items()
            },
            "shares": self.shares,
        }


def order_of_turn(names: Sequence[str], turn: int) -> list[str]:
    """Who runs when: each turn begins with the next one, so that nobody always follows the same one."""
    start = turn % len(names)
    return [*names[start:], *names[:start]]


def measure_once(stage: Stage, tool: Tool, streams: int) -> tuple[Measurement, Wanted]:
    """One run into empty destinations, checked. Raises Mistake where the tool fails, or where not all arrived."""
    with stage.run(streams) as task:
        measured = run_measured(
            tool.command(task),
            environment=tool.environment(task),
            output=task.folder / "output",
            limit_s=stage.scenario.limit_s,
            name=tool.name,
        )
        if tool.has_report:
            read_report(tool.report(task), measured)
        stage.check(task, tool, measured)
        return measured, task.wanted


def alternate(
    stage: Stage,
    tools: Sequence[Tool],
    *,
    runs: int,
    warm_up: int,
    streams: Callable[[Tool], int],
    tell: Callable[[str], None],
) -> Result:
    """`warm_up` turns that do not count, and `runs` that do; in each turn every tool runs once."""
    by_name = {tool.name: tool for tool in tools}
    taken: dict[str, list[Measurement]] = {name: [] for name in by_name}
    wanted: Wanted | None = None
    left_out: list[str] = []
    for turn in range(warm_up + runs):
        for name in order_of_turn(list(by_name), turn):
            try:
                measured, wanted = measure_once(stage, by_name[name], streams(by_name[name]))
            except Mistake as mistake:
                if by_name[name].essential or len(by_name) == 1:
                    raise
                left_out.append(f"{str(mistake).splitlines()[0]} {str(mistake).splitlines()[-1]}")
                tell(f"{stage.scenario.name}: left out from now on: {mistake}")
                del by_name[name], taken[name]
                continue
            counted = turn >= warm_up
            if counted:
                taken[name].append(measured)
            which = f"run {turn - warm_up + 1} of {runs}" if counted else "warming up"
            tell(f"{stage.scenario.name}: {name}, {which}: {measured.wall_s:.2f} s, CPU {measured.cpu_s:.2f} s")
            for note in measured.notes:
                tell(f"  {note}")
    assert wanted is not None
    return Result(stage.scenario, wanted, dict(stage.kinds), taken, left_out)
