"""Measures the paths of a plan: runs of samples of its images, and what follows from them for each source."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import secrets
import statistics
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.bench.bench_file import BenchFile
from image_syncer.bench.measuring import Measured, Measurer, Setting, sweep
from image_syncer.bench.samples import Sample, SampleMaker
from image_syncer.bench.sides import UNKNOWN_DIGEST, PathSide, ask_side, with_limits_found
from image_syncer.capacity.fit import MeasuredRun, fit_path
from image_syncer.dispatch.machine import inspect_machine
from image_syncer.errors import ConfigurationError, Origin
from image_syncer.oci import Digest, parse_reference
from image_syncer.scheduling import Resources
from image_syncer.telemetry import Outcome
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from image_syncer.capacity.forecast import Workload
    from image_syncer.capacity.measured import MeasuredPath
    from image_syncer.config import Configuration
    from image_syncer.oci import Repository
    from image_syncer.reporting.plan_file import PlanFile, PlannedImage


_HASHED_PIECE, _HASHED_FOR_S = bytes(2**20), 0.2
_CPUINFO = Path("/proc/cpuinfo")
_STARTS = 3
"""Runs without work, of which the median is the time that a start takes."""
_SEVERAL = 2
"""Streams at least, for the rate of several streams together."""

Written = tuple["Repository", Digest]


def bench_plan(  # noqa: PLR0913 - public signature
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
    destination registry. `access` are the options by which registries are reached, `options` further ones for each run.
    With `sweeps`, settings are tried as well, which moves a multiple of that. With `configuration`, each registry is
    also measured by itself. `on_written` gets manifests before they are pushed. Raises SyncError where a run fails,
    ConfigurationError where the plan has nothing to measure.
    """
    wanted = [image for image in plan.images if image.outcome in (Outcome.PLANNED, Outcome.UNCHANGED)]
    sources = sorted({parse_reference(image.source).repository.registry for image in wanted})
    measurer = Measurer(command, access, folder)
    paths: list[MeasuredPath] = []
    makers: list[SampleMaker] = []
    host = _describe_host()
    sides = [] if configuration is None else _ask_sides(configuration, wanted, tell)
    for source in sources:
        maker = SampleMaker(plan, source, folder, secrets.token_hex(4), most_bytes // len(sources))
        makers.append(maker)
        path = _measure_source(maker, measurer, options, on_written, partial(_tell_of, source, tell))
        if path is not None:
            now = datetime.now(timezone.utc).isoformat("T", "seconds")
            paths.append(replace(path, source=source, measured_at=now, host=host))
    if not paths:
        raise ConfigurationError(
            "the plan has nothing that could be measured",
            hint="Make a plan that has images, or give a --budget into which they fit.",
        )
    best = _best_setting(makers[0], measurer, on_written, tell) if sweeps else None
    return BenchFile(tuple(paths), best, sides=tuple(with_limits_found(one, measurer.limits) for one in sides))


def _ask_sides(
    configuration: Configuration, wanted: Sequence[PlannedImage], tell: Callable[[str], None]
) -> list[PathSide]:
    """Ask each registry of the plan: sources for one of their images, destinations for one that does not exist."""
    asked: dict[tuple[str, Origin], tuple[Repository, Digest]] = {}
    for image in wanted:
        source, destination = (parse_reference(one).repository for one in (image.source, image.destination))
        if image.source_digest is not None:
            asked.setdefault((source.registry, Origin.SOURCE), (source, Digest(image.source_digest)))
        asked.setdefault((destination.registry, Origin.DESTINATION), (destination, UNKNOWN_DIGEST))
    sides = []
    for (registry, origin), (repository, digest) in asked.items():
        tell(f"{registry}: how far away it is, as {origin}")
        sides.append(ask_side(configuration, origin, repository, digest))
    return sides


def _best_setting(
    maker: SampleMaker,
    measurer: Measurer,
    on_written: Callable[[Sequence[Written]], None],
    tell: Callable[[str], None],
) -> Setting | None:
    """The settings beyond which more does not pay, for the large images of the first source."""
    maker.repeat()

    def sample() -> Path:
        made = maker.large()
        assert made is not None
        on_written(made.written)
        return made.path

    return None if maker.large() is None else sweep(measurer, sample, inspect_machine().cpus, tell=tell)


def _measure_source(
    maker: SampleMaker,
    measurer: Measurer,
    options: Sequence[str],
    on_written: Callable[[Sequence[Written]], None],
    tell: Callable[[str], None],
) -> MeasuredPath | None:
    """Run the samples of one source; None where it has nothing to copy."""
    tell("how long a run takes that has nothing to do")
    starts = [measurer.run(maker.nothing().path, options) for _ in range(_STARTS)]
    start_s, start_machine_s = (
        statistics.median(each) for each in zip(*((one.wall_s, one.cost.machine_s) for one in starts), strict=True)
    )
    runs: list[MeasuredRun] = []
    peaks = [0, 0]
    many: list[float] = []
    resources = _resources_of(starts[0], options)
    for words, sample, alone in _samples(maker):
        tell(words)
        on_written(sample.written)
        done = measurer.run(sample.path, options)
        cost = replace(done.cost, machine_s=done.cost.machine_s - start_machine_s)
        runs.append(_run_of(sample.workload, replace(done, cost=cost), resources.small_bytes, alone=alone))
        if sum(one["size_bytes"] > resources.small_bytes for one in done.moved) >= _SEVERAL and done.moving_s > 0:
            many.append(sum(one["bytes_moved"] for one in done.moved) / done.moving_s)
        usage = done.report["usage"]
        peaks = [max(peaks[0], usage["coordinator_peak_bytes"]), max(peaks[1], usage["worker_peak_bytes"])]
    if not runs:
        return None
    tell("what follows from that")
    path = fit_path(runs, start_s=start_s, cpus=inspect_machine().cpus, resources=resources)
    most = max(many, default=None)
    return replace(path, coordinator_memory_bytes=peaks[0], worker_memory_bytes=peaks[1], many_bytes_per_s=most)


def _samples(maker: SampleMaker) -> Iterator[tuple[str, Sample, bool]]:
    """Each sample with its description, and whether it is one image alone."""
    unchanged = maker.unchanged()
    if unchanged is not None:
        yield f"{len(unchanged.workload.images)} tags that have not changed", unchanged, False
    for words, make in (
        ("one large image", maker.single),
        ("large images", maker.large),
        ("small images", maker.small),
        ("images as they come", maker.mixed),
        ("further images as they come", maker.further),
    ):
        sample = make()
        if sample is not None:
            count = len(sample.workload.images)
            yield (words if count == 1 else f"{count} {words}"), sample, make == maker.single
            if make == maker.mixed and unchanged is None:
                yield f"the same {count} once more", Sample(sample.path, sample.workload.unchanged()), False


def _run_of(workload: Workload, done: Measured, small_bytes: int, *, alone: bool) -> MeasuredRun:
    moved = done.moved
    small = [one["ended_s"] - one["began_s"] for one in moved if one["size_bytes"] <= small_bytes]
    streams = [
        one["bytes_moved"] / (one["ended_s"] - one["began_s"])
        for one in moved
        if one["size_bytes"] > small_bytes and one["ended_s"] > one["began_s"]
    ]
    alone_bytes_per_s = streams[0] if alone and len(streams) == 1 else None
    return MeasuredRun(workload, done.wall_s, done.cost, min(small, default=None), alone_bytes_per_s)


def _resources_of(done: Measured, options: Sequence[str]) -> Resources:
    """The resources of a run with these `options`, from its report."""
    settings: dict[str, Any] = done.report["settings"]
    names = ("workers", "streams", "window_bytes", "small_streams", "small_bytes", "memory_bytes", "proc")
    first = settings["workers"] if any(option.startswith("--workers") for option in options) else 1
    known = {name: settings[name] for name in names}
    return Resources(**known, first_workers=first, connections=256, open_files=1024, files_wanted=0)


def _describe_host() -> dict[str, str | int | float]:
    """Name and number of the processors, the interpreter, and bytes per second of SHA-256 on one processor."""
    processor = platform.machine()
    with contextlib.suppress(OSError):
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        processor = next(names, processor)
    digester, began, hashed = hashlib.sha256(), time.process_time(), 0
    while (took := time.process_time() - began) < _HASHED_FOR_S:
        digester.update(_HASHED_PIECE)
        hashed += len(_HASHED_PIECE)
    return {
        "processor": processor,
        "cpus": inspect_machine().cpus,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "sha256_bytes_per_s": round(hashed / took),
    }


def _tell_of(source: str, tell: Callable[[str], None], text: str) -> None:
    tell(f"{source}: {text}")
