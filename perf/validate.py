"""How good estimates are: `python perf/validate.py [SCENARIO …]` benches, estimates and runs each scenario in one go.

For each scenario: a plan, a bench, an estimate, and then the sync itself, several times, as a user would run it. What
comes out is a table for `docs/capacity.md`. With `--drawn N --seed S` the scenarios are N workloads drawn at random,
and each bench has its default budget.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from perf.compare import measure_once
from perf.errors import Mistake
from perf.scenario import Destination, Scenario, Source, load_files, scaled, select
from perf.stage.content import ContentSpec
from perf.staging import Stage, find_directory
from perf.tools import image_syncer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.task import Task

__all__ = ["JUDGED", "TUNED", "Validation", "draw", "main", "validate"]

TUNED = ("few_large", "many_small", "real_world")
"""On which the model was made."""
JUDGED = ("shared_catalog", "nothing_changed", "tls", "fan_out", "slow_source", "docker_registry:large")
"""Which it had not seen."""
BUDGET = "4GiB"
"""Of a bench, on paths that move a gigabyte in a second."""
KIB, MIB = 2**10, 2**20
LEAST_LAYER, MOST_LAYER = 4 * KIB, 64 * MIB
LEAST_TOTAL, MOST_TOTAL = 32 * MIB, 2048 * MIB
LEAST_IMAGES, MOST_IMAGES = 4, 1200
MOST_LAYERS = 10
WITH_TLS, WITH_REGISTRY = 0.25, 0.5
"""Of the drawn workloads, about: with TLS, and for each side with a docker-registry instead of a static server."""
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


def draw(count: int, seed: int) -> list[Scenario]:
    """`count` workloads: sizes, counts, sharing, and the kinds of source and destination, all by `seed`."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    return [_draw_one(chance) for _ in range(count)]


def _draw_one(chance: random.Random) -> Scenario:
    def between(least: float, most: float) -> float:
        return math.exp(chance.uniform(math.log(least), math.log(most)))

    layer, total = round(between(LEAST_LAYER, MOST_LAYER)), between(LEAST_TOTAL, MOST_TOTAL)
    layers = chance.randint(1, MOST_LAYERS)
    shared = chance.choice([0, 0, chance.randint(0, layers - 1)])
    images = round(min(max(total / (layer * (layers - shared)), LEAST_IMAGES), MOST_IMAGES))
    repositories = chance.choice([1, 1, min(images, 8)])
    spec = ContentSpec(
        repositories=repositories,
        tags=max(1, images // repositories),
        layers=layers,
        layer_bytes=layer,
        shared_layers=shared,
        bases=chance.randint(1, 4),
        seed=chance.randrange(2**16),
    )
    tls = chance.random() < WITH_TLS
    registries = [chance.random() < WITH_REGISTRY for _ in range(2)]
    kinds = ("registry" if registries[0] else "static", "registry" if registries[1] else "sink")
    size = f"{layer / MIB:.1f} MiB" if layer >= MIB else f"{layer / KIB:.0f} KiB"
    name = f"{spec.repositories * spec.tags} × {layers} × {size}, {shared} shared, {' → '.join(kinds)}{', TLS' * tls}"
    return Scenario(
        (Source(spec, tls=tls, registry=registries[0]),), (Destination(tls=tls, registry=registries[1]),), name=name
    )


def validate(scenario: Scenario, directory: Path, runs: int, *, budget: str | None = BUDGET) -> Validation:
    """One scenario; the bench has the default budget where `budget` is None. Raises Mistake where a step fails."""
    tool = image_syncer()
    with Stage(scenario, directory) as stage:
        with stage.run(STREAMS) as task:
            environment = tool.environment(task)
            folder = task.folder
            plan, bench = folder / "plan.json", folder / "bench.json"
            access = ["--auth", str(task.auth)]
            _call(task, ["plan", *access, "--images", str(task.images), "--save", str(plan), "--quiet"], environment)
            how = [*(["--budget", budget] if budget else []), "--keep", "--quiet"]
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
    judged = [abs(row.error) for row in rows if row.scenario not in TUNED] or [0.0]
    runs = sum(len(row.measured) for row in rows)
    lines.append("")
    lines.append(f"median error of the judged: {statistics.median(judged):.0%}")
    lines.append(f"runs within the time of nine of ten: {sum(row.within for row in rows)} of {runs}")
    held = sum(row.measured_s <= row.p90_s for row in rows)
    lines.append(f"scenarios whose median is within it: {held} of {len(rows)}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=[*TUNED, *JUDGED])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the bytes of each scenario: for a first look")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--drawn", type=int, default=0, metavar="N", help="so many workloads at random instead")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn workloads")
    options = parser.parse_args(arguments)
    rows: list[Validation] = []
    try:
        directory = find_directory(None)
        drawn = draw(options.drawn, options.seed)
        budget = None if drawn else BUDGET
        for scenario in drawn or select(load_files(), options.scenarios or [*TUNED, *JUDGED]):
            rows.append(validate(scaled(scenario, options.fraction), directory, options.runs, budget=budget))
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
