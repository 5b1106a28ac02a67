"""A soak: a thousand images over a way that breaks 5 % of all requests, a worker killed every 20 s, round after round.

    python tests/soak/run.py --for 10m --seed 7

Each round copies the images to a new, empty destination: first with faults, again and again with the same journal as
long as something is missing, at last without faults; then every byte at the destination is read. Whatever is wrong is
printed with what repeats it, and the exit code is 1. Needs nothing but the project and its test support; with
`--registry docker-registry` the destination is Debian's.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path[:0] = [str(PROJECT / "tests"), str(PROJECT / "engine"), str(PROJECT / "cli")]

from image_syncer.embedded import (  # noqa: E402 - after the path to it
    ContentBuilder,
    DemoImage,
    EmbeddedRegistry,
    MemoryStorage,
    audit_registry,
    push_to,
    serve_in_thread,
)
from image_syncer.units import parse_duration  # noqa: E402
from support.docker_registry import serve_docker_registry  # noqa: E402
from support.fault_plan import Action, Moment, ProxyFault, Weather  # noqa: E402
from support.fault_proxy import Door, run_fault_proxy  # noqa: E402
from support.sync_process import RunFiles, SyncProcess  # noqa: E402

MOST_TRIES = 6
"""Runs of one round with faults; then without."""
OPTIONS = (
    *("--retries", "4", "--stall-timeout", "5s", "--answer-timeout", "10s", "--connect-timeout", "5s"),
    *("--workers", "2", "--small-blobs", "64KiB", "--window", "256KiB", "--no-progress"),
)
PATIENCE_S = 900.0
"""A run that takes longer counts as stuck."""


def bad_weather() -> tuple[ProxyFault, ...]:
    """What may happen to a request; stalls are rare, because each takes a time-out."""
    page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
    breaks = [
        ProxyFault(action, moment, after_bytes=5000)
        for action in (Action.RESET, Action.CLOSE)
        for moment in Moment
        if moment is not Moment.LOST
    ]
    answers = [
        ProxyFault(Action.ANSWER, moment, status=status, body=page if status == 502 else b"", after_bytes=5000)
        for moment in (Moment.BEFORE_ANSWER, Moment.REQUEST_BODY)
        for status in (429, 500, 502, 503, 504, 522)
    ]
    edits = [
        ProxyFault(action, moment, operation, after_bytes=3000)
        for moment, operation in ((Moment.ANSWER_BODY, "get blob"), (Moment.REQUEST_BODY, "put upload"))
        for action in (Action.FLIP, Action.SHORTEN, Action.LENGTHEN, Action.OVERSTATE)
    ]
    return (
        *breaks,
        *answers,
        *edits,
        ProxyFault(Action.RESET, Moment.LOST),
        ProxyFault(Action.ANSWER, Moment.LOST, status=504),
        ProxyFault(Action.TWICE, Moment.AFTER),
        ProxyFault(Action.TRICKLE, Moment.ANSWER_BODY, "get blob", bytes_per_s=50_000),
        ProxyFault(Action.STALL, Moment.ANSWER_BODY, "get blob", after_bytes=3000),
        ProxyFault(Action.STALL, Moment.BEFORE_ANSWER, "put upload"),
    )


@dataclass
class Tally:
    """What happened in all rounds."""

    rounds: int = 0
    runs: int = 0
    images: int = 0
    failed: int = 0
    killed: int = 0
    requests: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    bytes_moved: int = 0
    wrong: list[str] = field(default_factory=list)


def make_images(seed: int, count: int) -> list[DemoImage]:
    """`count` images in a tenth as many repositories; half of all layers are shared."""
    chance = random.Random(seed)
    content = ContentBuilder(seed=seed)
    shared = [content.layer(chance.choice((4_000, 40_000, 400_000))) for _ in range(max(1, count // 20))]
    images = []
    for number in range(count):
        own = [content.layer(chance.choice((500, 3_000, 30_000, 150_000))) for _ in range(2)]
        layers = [*own, *chance.sample(shared, min(2, len(shared)))]
        images.append(DemoImage(f"soak/app{number % max(1, count // 10)}", f"v{number}", content.image(layers)))
    return images


class Killer:
    """Kills a worker of `run` every so many seconds until the block is left."""

    def __init__(self, run: SyncProcess, every_s: float, chance: random.Random) -> None:
        self.killed = 0
        self._run, self._every_s, self._chance = run, every_s, chance
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Killer:  # noqa: PYI034 - Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(self._every_s):
            workers = self._run.look()
            if workers:
                os.kill(self._chance.choice(workers).pid, signal.SIGKILL)
                self.killed += 1


class Soak:
    """The rounds, one after the other."""

    def __init__(self, stack: ExitStack, options: argparse.Namespace, images: list[DemoImage]) -> None:
        self._stack, self._options, self._images = stack, options, images
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._source: EmbeddedRegistry = stack.enter_context(serve_in_thread(MemoryStorage()))
        self.tally = Tally()
        for image in images:
            push_to(self._source.storage, image.repository, image.manifest, [image.tag])

    def round(self, number: int, end_s: float) -> None:
        """One round; faults stop when the time is over, the rest of the round does not."""
        seed = self._options.seed * 1000 + number
        with ExitStack() as stack:
            folder = self._folder / f"round{number}"
            folder.mkdir()
            if self._options.registry == "docker-registry":
                destination = stack.enter_context(serve_docker_registry(folder / "registry"))
                address, url = destination.address, destination.url
            else:
                embedded = stack.enter_context(serve_in_thread(MemoryStorage()))
                address, url = embedded.address, embedded.url
            proxy = stack.enter_context(run_fault_proxy())
            doors = [proxy.open_door(self._source.address), proxy.open_door(address)]
            code, tries = 1, 0
            while code and tries < MOST_TRIES and time.monotonic() < end_s:
                for side, door in enumerate(doors):
                    weather = Weather(bad_weather(), self._options.chance, seed + 100 * tries + side)
                    door.break_with(weather=weather)
                code = self._run(folder / f"run{tries}", folder / "run.db", doors, random.Random(seed + tries))
                tries += 1
            for door in doors:
                door.break_with()
            if code and self._run(folder / "clear", folder / "run.db", doors, None):
                self.tally.wrong.append(f"round {number}: a run without faults fails, see {self._keep(folder)}")
            mistakes = audit_registry(url, self._images).mistakes
            if mistakes:
                self.tally.wrong += [f"round {number} (seed {seed}): {text}" for text in mistakes[:20]]
                self.tally.wrong.append(f"its logs: {self._keep(folder)}")
            self.tally.rounds += 1

    def _run(self, folder: Path, state: Path, doors: list[Door], chance: random.Random | None) -> int:
        files = RunFiles(folder)
        files.write(doors[0].address, doors[1].address, self._images)
        began_s = time.monotonic()
        with SyncProcess(files, *OPTIONS, "--state", str(state)) as run:
            every_s = self._options.kill_every if chance is not None else float("inf")
            if chance is None:
                code = run.wait(PATIENCE_S)
            else:
                with Killer(run, every_s, chance) as killer:
                    code = run.wait(PATIENCE_S)
                self.tally.killed += killer.killed
            if code not in (0, 1):
                self.tally.wrong.append(f"exit code {code}: {run.err[-2000:]}, see {self._keep(folder)}")
                return code
            totals = run.report["totals"]
            if run.orphans:
                self.tally.wrong.append(f"processes left: {run.orphans}")
        tally = self.tally
        tally.runs += 1
        tally.images += totals["images"]
        tally.failed += totals["outcomes"].get("failed", 0)
        tally.bytes_moved += totals["bytes_moved"]
        for door in doors:
            tally.requests += sum(door.requests.values())
            door.requests.clear()
            tally.struck.update({f"{one.action.name} {one.moment.name}": n for one, n in door.strikes.struck.items()})
            door.strikes.struck.clear()
        print(
            f"  {folder.name}: exit {code}, {totals['images']} images, {totals['outcomes'].get('failed', 0)} failed, "
            f"{totals['bytes_moved']:,} bytes, {time.monotonic() - began_s:.0f} s",
            flush=True,
        )
        return code

    def _keep(self, folder: Path) -> Path:
        """The folder under a name that outlives the soak."""
        kept = Path(tempfile.mkdtemp(prefix="soak-"))
        for path in folder.rglob("*"):
            if path.is_file() and "registry" not in path.parts and path.suffix in {".log", ".json", ".db", ""}:
                target = kept / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        return kept


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--for", dest="duration_s", type=parse_duration, default=600.0, help="such as 10m or 8h")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--chance", type=float, default=0.05, help="of a request to meet a fault")
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--registry", choices=("embedded", "docker-registry"), default="embedded")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    end_s = time.monotonic() + options.duration_s
    images = make_images(options.seed, options.images)
    with ExitStack() as stack:
        soak = Soak(stack, options, images)
        number = 0
        while time.monotonic() < end_s:
            print(f"round {number}", flush=True)
            soak.round(number, end_s)
            number += 1
    tally = soak.tally
    print(
        f"{tally.rounds} rounds, {tally.runs} runs, {tally.images:,} images, {tally.failed:,} of them failed at first; "
        f"{tally.requests:,} requests, {sum(tally.struck.values()):,} faults, {tally.killed} workers killed, "
        f"{tally.bytes_moved:,} bytes moved"
    )
    for what, count in tally.struck.most_common():
        print(f"  {count:7,}  {what}")
    for text in tally.wrong:
        print(f"WRONG: {text}")
    print("nothing wrong" if not tally.wrong else f"{len(tally.wrong)} wrong; seed {options.seed}")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
