"""Measures the paths of a plan: runs of samples, and what they say of each source.

What the host of a bench is: its processors, and how fast one of them hashes, below which no blob can be.
"""

from __future__ import annotations

import hashlib
import platform
import secrets
import statistics
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.bench.bench_file import BenchFile
from image_syncer.bench.measuring import Measured, Measurer
from image_syncer.bench.samples import Sample, SampleMaker
from image_syncer.bench.sides import NOBODYS, PathSide, ask_side, with_limits_found
from image_syncer.bench.sweep import Setting, sweep
from image_syncer.coordinator.machine import inspect_machine
from image_syncer.errors import ConfigurationError, Origin
from image_syncer.oci import Digest, parse_reference
from image_syncer.planning import Resources
from image_syncer.planning.fit import MeasuredRun, fit_path
from image_syncer.telemetry import Outcome
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from image_syncer.config import Configuration
    from image_syncer.oci import Repository
    from image_syncer.planning.measured import MeasuredPath
    from image_syncer.telemetry.plan_file import PlanFile, PlannedImage

__all__ = ["bench_plan", "describe_host"]


_PIECE = bytes(2**20)
_HASHED_FOR_S = 0.2
_CPUINFO = Path("/proc/cpuinfo")


def describe_host() -> dict[str, str | int | float]:
    """Name and number of the processors, the interpreter, and bytes a second of SHA-256 on one of them."""
    return {
        "processor": _processor(),
        "cpus": inspect_machine().cpus,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "sha256_bytes_per_s": round(_hash_rate()),
    }


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _hash_rate() -> float:
    digester, began, hashed = hashlib.sha256(), time.process_time(), 0
    while (took := time.process_time() - began) < _HASHED_FOR_S:
        digester.update(_PIECE)
        hashed += len(_PIECE)
    return hashed / took


_STARTS = 3
_SEVERAL = 2


Written = tuple["Repository", Digest]


def bench_plan(
    plan: PlanFile,
    command: Sequence[str],
    access: Sequence[str],
    folder: Path,
    *,
    most_bytes: int,
    configuration: Configuration | None = None,
    options: Sequence[str] = (),
    sweeps: bool = False,
    tell: Callable[[str], None] = lambda _text: None,
    on_written: Callable[[Sequence[Written]], None] = lambda _written: None,
) -> BenchFile:
    """Measure every source of `plan` with runs of `command`, which together move at most about `most_bytes` to each
    destination registry. `access` are the words that say how registries are reached, `options` further ones for each
    run; with `sweeps`, settings are tried as well, which moves a multiple of that. With `configuration`, each registry
    is asked for itself, too. `on_written` is told of manifests before they are put somewhere. Raises SyncError where a
    run fails, ConfigurationError where the plan has nothing to measure.
    """
    wanted = [image for image in plan.images if image.outcome in (Outcome.PLANNED, Outcome.UNCHANGED)]
    sources = sorted({parse_reference(image.source).repository.registry for image in wanted})
    measurer = Measurer(command, access, folder)
    paths: list[MeasuredPath] = []
    makers: list[SampleMaker] = []
    host = describe_host()
    sides = [] if configuration is None else _ask_sides(configuration, wanted, tell)
    for source in sources:
        name = secrets.token_hex(4)
        maker = SampleMaker(plan, source, folder, name, most_bytes // len(sources))
        makers.append(maker)
        bench = _SourceBench(maker, measurer, options, on_written)
        path = bench.measure(lambda text, source=source: tell(f"{source}: {text}"))  # type: ignore[misc]
        if path is not None:
            now = datetime.now(timezone.utc).isoformat("T", "seconds")
            paths.append(replace(path, source=source, measured_at=now, host=host))
    if not paths:
        raise ConfigurationError(
            "the plan has nothing that could be measured",
            hint="Make a plan that has images, or give a --budget into which they fit.",
        )
    best = _sweep(makers[0], measurer, on_written, tell) if sweeps else None
    return BenchFile(tuple(paths), best, sides=tuple(with_limits_found(one, measurer.limits) for one in sides))


def _ask_sides(
    configuration: Configuration, wanted: Sequence[PlannedImage], tell: Callable[[str], None]
) -> list[PathSide]:
    """Each registry of the plan: the sources for an image that they have, the destinations for one that nobody has."""
    asked: dict[tuple[str, Origin], tuple[Repository, Digest]] = {}
    for image in wanted:
        source, destination = (parse_reference(one).repository for one in (image.source, image.destination))
        if image.source_digest is not None:
            asked.setdefault((source.registry, Origin.SOURCE), (source, Digest(image.source_digest)))
        asked.setdefault((destination.registry, Origin.DESTINATION), (destination, NOBODYS))
    sides = []
    for (registry, origin), (repository, digest) in asked.items():
        tell(f"{registry}: how far away it is, as {origin}")
        sides.append(ask_side(configuration, origin, repository, digest))
    return sides


def _sweep(
    maker: SampleMaker,
    measurer: Measurer,
    on_written: Callable[[Sequence[Written]], None],
    tell: Callable[[str], None],
) -> Setting | None:
    """Settings beyond which more does not pay, for the large images of the first source."""
    maker.repeat()

    def sample() -> Path:
        made = maker.large()
        assert made is not None
        on_written(made.written)
        return made.path

    return None if maker.large() is None else sweep(measurer, sample, inspect_machine().cpus, tell=tell)


class _SourceBench:
    """The runs for one source."""

    def __init__(
        self,
        maker: SampleMaker,
        measurer: Measurer,
        options: Sequence[str],
        on_written: Callable[[Sequence[Written]], None],
    ) -> None:
        self._maker = maker
        self._measurer = measurer
        self._options = options
        self._on_written = on_written

    def measure(self, tell: Callable[[str], None]) -> MeasuredPath | None:
        """What its runs say; None where it has nothing to copy."""
        tell("how long a run takes that has nothing to do")
        starts = [self._measurer.run(self._maker.nothing().path, self._options) for _ in range(_STARTS)]
        runs: list[MeasuredRun] = []
        peaks = [0, 0]
        many: list[float] = []
        resources = _resources_of(starts[0], self._options)
        for words, sample, alone in _samples(self._maker):
            tell(words)
            self._on_written(sample.written)
            done = self._measurer.run(sample.path, self._options)
            runs.append(_run_of(sample, done, resources.small_bytes, alone=alone))
            many += _together(done, resources.small_bytes)
            usage = done.report["usage"]
            peaks = [max(peaks[0], usage["coordinator_peak_bytes"]), max(peaks[1], usage["worker_peak_bytes"])]
        if not runs:
            return None
        tell("what follows from that")
        start_s = statistics.median(one.wall_s for one in starts)
        start_machine_s = statistics.median(one.machine_s for one in starts)
        cpus = inspect_machine().cpus
        path = fit_path(runs, start_s=start_s, start_machine_s=start_machine_s, cpus=cpus, resources=resources)
        most = max(many, default=None)
        return replace(path, coordinator_memory_bytes=peaks[0], worker_memory_bytes=peaks[1], many_bytes_per_s=most)


def _together(done: Measured, small_bytes: int) -> list[float]:
    """Bytes a second of several streams, where there were several."""
    moved = [one for one in done.transfers if one["outcomes"] == ["moved"]]
    if sum(one["size_bytes"] > small_bytes for one in moved) < _SEVERAL:
        return []
    took = max(one["ended_s"] for one in moved) - min(one["began_s"] for one in moved)
    return [sum(one["bytes_moved"] for one in moved) / took] if took > 0 else []


def _samples(maker: SampleMaker) -> Iterator[tuple[str, Sample, bool]]:
    """What is run, in words; the last says whether it is one image alone."""
    unchanged = maker.unchanged()
    if unchanged is not None:
        yield f"{len(unchanged.workload.images)} tags that have not changed", unchanged, False
    for words, make in (
        ("one large image", maker.single),
        ("large images", maker.large),
        ("small images", maker.small),
        ("images as they come", maker.mixed),
    ):
        sample = make()
        if sample is None:
            continue
        count = len(sample.workload.images)
        yield (words if count == 1 else f"{count} {words}"), sample, make == maker.single
        if make == maker.mixed and unchanged is None:
            again = maker.again(sample)
            yield f"the same {count} once more", again, False


def _run_of(sample: Sample, done: Measured, small_bytes: int, *, alone: bool) -> MeasuredRun:
    moved = [one for one in done.transfers if one["outcomes"] == ["moved"]]
    small = [one["ended_s"] - one["began_s"] for one in moved if one["size_bytes"] <= small_bytes]
    streams = [
        one["bytes_moved"] / (one["ended_s"] - one["began_s"])
        for one in moved
        if one["size_bytes"] > small_bytes and one["ended_s"] > one["began_s"]
    ]
    return MeasuredRun(
        sample.workload,
        done.wall_s,
        done.coordinator_s,
        done.workers_s,
        done.machine_s,
        first_s=min(small, default=None),
        stream_bytes_per_s=max(streams, default=None) if alone and len(streams) == 1 else None,
    )


def _resources_of(done: Measured, options: Sequence[str]) -> Resources:
    """As the run with these `options` decided them."""
    told: dict[str, Any] = done.report["settings"]
    names = ("workers", "streams", "window_bytes", "small_streams", "small_bytes", "memory_bytes", "proc")
    first = told["workers"] if any(option.startswith("--workers") for option in options) else 1
    known = {name: told[name] for name in names}
    return Resources(**known, first_workers=first, connections=256, open_files=1024, files_wanted=0)
