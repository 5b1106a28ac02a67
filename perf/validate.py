"""How good estimates are: `python perf/validate.py [SCENARIO …]` benches, estimates and runs each scenario in one go.

For each scenario: a plan, a bench, an estimate, and then the sync itself, several times, as a user would run it. What
comes out is a table for `docs/capacity.md`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from perf.compare import measure_once
from perf.errors import Mistake
from perf.scenario import load_files, scaled, select
from perf.staging import Stage, find_directory
from perf.tools import image_syncer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.scenario import Scenario
    from perf.task import Task

__all__ = ["JUDGED", "TUNED", "Validation", "main", "validate"]

TUNED = ("few_large", "many_small", "real_world")
"""On which the model was made."""
JUDGED = ("shared_catalog", "nothing_changed", "tls", "fan_out", "slow_source", "docker_registry:large")
"""Which it had not seen."""
BUDGET = "4GiB"
"""Of a bench, on paths that move a gigabyte in a second."""
RUNS = 3
STREAMS = 32


@dataclass(frozen=True)
class Validation:
    """What was predicted for a scenario, and what was measured. Seconds."""

    scenario: str
    predicted_s: float
    p90_s: float
    measured: tuple[float, ...]
    bottleneck: str

    @property
    def measured_s(self) -> float:
        """The median of the runs."""
        return statistics.median(self.measured)

    @property
    def error(self) -> float:
        """Relative: 0.1 is a tenth too long."""
        return self.predicted_s / self.measured_s - 1

    @property
    def within(self) -> int:
        """Runs that took no longer than nine of ten should."""
        return sum(seconds <= self.p90_s for seconds in self.measured)


def validate(scenario: Scenario, directory: Path, runs: int) -> Validation:
    """One scenario. Raises Mistake where a step fails."""
    tool = image_syncer()
    with Stage(scenario, directory) as stage:
        with stage.run(STREAMS) as task:
            environment = tool.environment(task)
            folder = task.folder
            plan, bench = folder / "plan.json", folder / "bench.json"
            access = ["--auth", str(task.auth)]
            _call(task, ["plan", *access, "--images", str(task.images), "--save", str(plan), "--quiet"], environment)
            how = ["--budget", BUDGET, "--keep", "--quiet"]
            _call(task, ["bench", "--plan", str(plan), *access, "--save", str(bench), *how], environment)
            estimate = ["estimate", "--plan", str(plan), "--bench", str(bench), "--json"]
            found: dict[str, Any] = json.loads(_call(task, estimate, environment))
        measured = tuple(measure_once(stage, tool, STREAMS)[0].wall_s for _ in range(runs))
    return Validation(scenario.name, found["seconds"], found["p90_s"], measured, found["bottleneck"])


def _call(task: Task, words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "image_syncer_cli", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=task.folder,
    )
    if done.returncode:
        raise Mistake(f"{words[0]} failed with exit code {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def render(rows: Sequence[Validation]) -> str:
    """The table, and what it comes to."""
    lines = ["| scenario | predicted s | nine of ten s | measured s | error | waits for |", "|---|---|---|---|---|---|"]
    for row in rows:
        span = f"{row.measured_s:.2f} [{min(row.measured):.2f}–{max(row.measured):.2f}]"
        cells = (row.scenario, f"{row.predicted_s:.2f}", f"{row.p90_s:.2f}", span, f"{row.error:+.0%}", row.bottleneck)
        lines.append(f"| {' | '.join(cells)} |")
    judged = [abs(math.expm1(math.log1p(row.error))) for row in rows if row.scenario in JUDGED] or [0.0]
    runs = sum(len(row.measured) for row in rows)
    lines.append("")
    lines.append(f"median error of the judged: {statistics.median(judged):.0%}")
    lines.append(f"runs within the time of nine of ten: {sum(row.within for row in rows)} of {runs}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=[*TUNED, *JUDGED])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the bytes of each scenario: for a first look")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows: list[Validation] = []
    try:
        directory = find_directory(None)
        for scenario in select(load_files(), options.scenarios or [*TUNED, *JUDGED]):
            rows.append(validate(scaled(scenario, options.fraction), directory, options.runs))
            print(render(rows[-1:]).splitlines()[2], flush=True)
    except Mistake as mistake:
        print(f"Error: {mistake}", file=sys.stderr)
        return 2
    print(render(rows))
    if options.json is not None:
        data = [{**vars(row), "error": row.error} for row in rows]
        options.json.write_text(json.dumps(data, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
