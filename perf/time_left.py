"""How good the time left is: `python perf/time_left.py [SCENARIO …]` runs each scenario once, and sets what the run
said when a tenth, a quarter, half and three quarters of its time were over against what was really left then.

Beside it stands the rule that is nearest at hand: bytes that are left, by the rate of the last ten seconds. A run is
asked over its control socket, so that what is judged is what a display gets. What comes out is a table for
`docs/display.md`. `--record FILE` keeps every answer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from perf.errors import Mistake
from perf.scenario import Destination, Scenario, Source, scaled
from perf.stage.content import ContentSpec
from perf.staging import Stage, find_directory
from perf.tools import image_syncer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer import Snapshot
    from perf.task import Task

__all__ = ["SCENARIOS", "Judged", "judge", "main", "render"]

MIB = 2**20
PARTS = (0.1, 0.25, 0.5, 0.75)
ASK_EVERY_S = 0.25
BEGINS_WITHIN_S = 60.0
STREAMS = 32

SCENARIOS: dict[str, Scenario] = {
    # 2 GiB at 80 MB/s: what a line gives, not what the machine does.
    "few_large": Scenario((Source(ContentSpec(tags=16, layers=1, layer_bytes=128 * MIB), bytes_per_s=80_000_000),)),
    "many_small": Scenario((Source(ContentSpec(repositories=8, tags=1000, layers=3, layer_bytes=16 * 1024)),)),
    "real_world": Scenario(
        (
            Source(
                ContentSpec(repositories=40, tags=8, layers=8, log_normal=(1.0 * MIB, 2.0), shared_layers=3),
                bytes_per_s=250_000_000,
            ),
        ),
    ),
    "slow_source": Scenario(
        (
            Source(ContentSpec(tags=96, layers=1, layer_bytes=4 * MIB, seed=11), bytes_per_s=20_000_000),
            Source(ContentSpec(tags=16, layers=1, layer_bytes=64 * MIB, seed=12)),
        ),
    ),
    # 1,500 small images in a few seconds, and one blob that takes most of the time.
    "one_giant": Scenario(
        (
            Source(ContentSpec(tags=1500, layers=3, layer_bytes=16 * 1024, seed=21)),
            Source(ContentSpec(tags=1, layers=1, layer_bytes=1500 * MIB, seed=22), bytes_per_s=60_000_000),
        ),
    ),
    "refused": Scenario(
        (Source(ContentSpec(tags=400, layers=3, layer_bytes=64 * 1024)),),
        (Destination(refuse_429=(300, 1.0)),),
    ),
    "nothing_changed": Scenario(
        (Source(ContentSpec(repositories=20, tags=1500, layers=1, layer_bytes=4096)),),
        (Destination(holds=True),),
    ),
    "rate": Scenario((Source(ContentSpec(tags=160, layers=4, layer_bytes=1 * MIB)),), options=("--rate", "25MB/s")),
    "docker_registry": Scenario(
        (Source(ContentSpec(tags=1200, layers=3, layer_bytes=64 * 1024), registry=True),),
        (Destination(registry=True),),
    ),
}
"""Each takes 20 seconds or more on a machine with two processors."""


@dataclass(frozen=True)
class Answer:
    """What the run said at one moment. Seconds, and bytes."""

    elapsed_s: float
    eta_s: float | None
    least_s: float | None
    most_s: float | None
    waits_for: str | None
    by_rate_s: float | None


@dataclass(frozen=True)
class Judged:
    """What a run of `seconds` said when these `parts` of it were over."""

    scenario: str
    seconds: float
    answers: tuple[Answer, ...]

    def at(self, part: float) -> Answer:
        """The last answer before that part of the run was over."""
        return [one for one in self.answers if one.elapsed_s <= part * self.seconds or one is self.answers[0]][-1]

    def error(self, part: float, *, by_rate: bool = False) -> float | None:
        """Relative to what was really left: 0.1 is a tenth too long. None where nothing was said."""
        answer = self.at(part)
        said = answer.by_rate_s if by_rate else answer.eta_s
        return None if said is None else said / (self.seconds - answer.elapsed_s) - 1

    def holds(self, part: float) -> bool | None:
        """Whether the truth was within the span; None where nothing was said."""
        answer = self.at(part)
        if answer.least_s is None or answer.most_s is None:
            return None
        return answer.least_s <= self.seconds - answer.elapsed_s <= answer.most_s


def judge(scenario: Scenario, directory: Path) -> Judged:
    """One scenario. Raises Mistake where the run fails."""
    with Stage(scenario, directory) as stage, stage.run(STREAMS) as task:
        return _watch(scenario, task)


def _watch(scenario: Scenario, task: Task) -> Judged:
    path, output = task.folder / "control", task.folder / "output"
    words = ["sync", "--auth", str(task.auth), "--images", str(task.images), "--control", str(path), "--quiet"]
    with output.open("wb") as sink:
        run = subprocess.Popen(
            [sys.executable, "-m", "image_syncer_cli", *words, *scenario.options],
            env={**os.environ, **image_syncer().environment(task)},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd=task.folder,
        )
        try:
            answers = [_answer(snapshot) for snapshot in _snapshots(path, run)]
            if run.wait() or not answers:
                raise Mistake(f"{scenario.name} failed: {output.read_text(errors='replace')[-2000:]}")
        finally:
            if run.poll() is None:
                run.kill()
                run.wait()
    return Judged(scenario.name, answers[-1].elapsed_s + ASK_EVERY_S / 2, tuple(answers))


def _snapshots(path: Path, run: subprocess.Popen[bytes]) -> Iterator[Snapshot]:
    from image_syncer import SyncError
    from image_syncer.control.client import ControlClient, read_snapshot

    until = time.monotonic() + BEGINS_WITHIN_S
    while not path.exists() and run.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    try:
        client = ControlClient(str(path))
        client.ask("snapshots", every_s=ASK_EVERY_S)
        while not client.ended:
            for told in client.take(wait=True):
                if (snapshot := read_snapshot(told)) is not None:
                    yield snapshot
    except SyncError as error:
        if run.poll() is None:
            raise Mistake(str(error)) from error
    finally:
        client.close()


def _answer(snapshot: Snapshot) -> Answer:
    left, rate = snapshot.bytes_total - snapshot.bytes_done, snapshot.bytes_per_s
    by_rate = 0.0 if left <= 0 else left / rate if rate > 0 else None
    return Answer(
        snapshot.elapsed_s,
        snapshot.eta_s,
        snapshot.eta_least_s,
        snapshot.eta_most_s,
        snapshot.eta_waits_for,
        None if snapshot.listing else by_rate,
    )


def render(rows: Sequence[Judged]) -> str:
    """The table, and what it comes to. In brackets: the rule of bytes by rate."""
    heads = ["scenario", "took", *(f"{part:.0%} of the time" for part in PARTS), "within the span", "waits for"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = [f"{_words(row.error(part))} [{_words(row.error(part, by_rate=True))}]" for part in PARTS]
        held = [row.holds(part) for part in PARTS]
        known = [one for one in held if one is not None]
        cells += [f"{sum(known)} of {len(known)}", row.at(PARTS[2]).waits_for or "–"]
        lines.append(f"| {row.scenario} | {row.seconds:.0f} s | {' | '.join(cells)} |")
    lines.append("")
    for name, by_rate in (("time left", False), ("bytes by rate", True)):
        errors = [error for row in rows for part in PARTS if (error := row.error(part, by_rate=by_rate)) is not None]
        silent = len(rows) * len(PARTS) - len(errors)
        off = [math.exp(abs(math.log(max(1e-3, 1 + error)))) - 1 for error in errors] or [0.0]
        lines.append(
            f"{name}: off by {statistics.median(off):.0%} in the median, by {max(off):.0%} at most; "
            f"{silent} of {len(errors) + silent} times nothing was said"
        )
    return "\n".join(lines)


def _words(error: float | None) -> str:
    return "–" if error is None else f"{error:+.0%}".replace("-", "−")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=", ".join(SCENARIOS))
    parser.add_argument("--fraction", type=float, default=1.0, help="of the bytes of each scenario: for a first look")
    parser.add_argument("--record", type=Path, help="write every answer there, as JSON")
    options = parser.parse_args(arguments)
    rows: list[Judged] = []
    try:
        directory = find_directory(None)
        for name in options.scenarios or SCENARIOS:
            scenario = scaled(replace(SCENARIOS[name], name=name), options.fraction)
            rows.append(judge(scenario, directory))
            print(render(rows[-1:]).splitlines()[2], flush=True)
    except Mistake as mistake:
        print(f"Error: {mistake}", file=sys.stderr)
        return 2
    print(render(rows))
    if options.record is not None:
        data = [
            {"scenario": row.scenario, "seconds": row.seconds, "answers": [*map(vars, row.answers)]} for row in rows
        ]
        options.record.write_text(json.dumps(data, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
