"""Measures the paths of a plan: runs of samples, and what they say of each source."""

from __future__ import annotations

import secrets
import statistics
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from image_syncer.bench.bench_file import BenchFile
from image_syncer.bench.host import describe_host
from image_syncer.bench.measuring import Measured, Measurer
from image_syncer.bench.samples import Sample, SampleMaker
from image_syncer.bench.sweep import Setting, sweep
from image_syncer.coordinator.machine import inspect_machine
from image_syncer.errors import ConfigurationError
from image_syncer.oci import parse_reference
from image_syncer.planning import Resources
from image_syncer.planning.fit import MeasuredRun, fit_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.measured import MeasuredPath
    from image_syncer.telemetry.plan_file import PlanFile

__all__ = ["PathBench", "bench_plan"]

_STARTS = 3


@dataclass(frozen=True)
class PathBench:
    """What a bench found, and the manifests that it has put somewhere."""

    found: BenchFile
    written: tuple[tuple[Repository, Digest], ...]


def bench_plan(
    plan: PlanFile,
    command: Sequence[str],
    access: Sequence[str],
    folder: Path,
    *,
    most_bytes: int,
    options: Sequence[str] = (),
    sweeps: bool = False,
    tell: Callable[[str], None] = lambda _text: None,
) -> PathBench:
    """Measure every source of `plan` with runs of `command`, which together move at most about `most_bytes` to each
    destination registry. `access` are the words that say how registries are reached, `options` further ones for each
    run; with `sweeps`, settings are tried as well, which moves a multiple of that. Raises SyncError where a run fails,
    ConfigurationError where the plan has nothing to measure.
    """
    sources = sorted({parse_reference(image.source).repository.registry for image in plan.images})
    measurer = Measurer(command, access, folder)
    paths: list[MeasuredPath] = []
    written: list[tuple[Repository, Digest]] = []
    makers: list[SampleMaker] = []
    host = describe_host()
    for source in sources:
        name = secrets.token_hex(4)
        maker = SampleMaker(plan, source, folder, name, most_bytes // len(sources))
        makers.append(maker)
        path, more = _bench_source(maker, measurer, options, lambda text, source=source: tell(f"{source}: {text}"))  # type: ignore[misc]
        written += more
        if path is not None:
            now = datetime.now(timezone.utc).isoformat("T", "seconds")
            paths.append(replace(path, source=source, measured_at=now, host=host))
    if not paths:
        raise ConfigurationError("the plan has nothing that could be measured", hint="Make a plan that has images.")
    best = _sweep(makers[0], measurer, written, tell) if sweeps else None
    return PathBench(BenchFile(tuple(paths), best), tuple(written))


def _sweep(
    maker: SampleMaker,
    measurer: Measurer,
    written: list[tuple[Repository, Digest]],
    tell: Callable[[str], None],
) -> Setting | None:
    """Settings beyond which more does not pay, for the large images of the first source."""
    maker.repeat()

    def sample() -> Path:
        made = maker.large()
        assert made is not None
        written.extend(made.written)
        return made.path

    return None if maker.large() is None else sweep(measurer, sample, inspect_machine().cpus, tell=tell)


def _bench_source(
    maker: SampleMaker, measurer: Measurer, options: Sequence[str], tell: Callable[[str], None]
) -> tuple[MeasuredPath | None, list[tuple[Repository, Digest]]]:
    tell("how long a run takes that has nothing to do")
    starts = [measurer.run(maker.nothing().path, options) for _ in range(_STARTS)]
    runs: list[MeasuredRun] = []
    written: list[tuple[Repository, Digest]] = []
    peaks = [0, 0]
    resources = _resources_of(starts[0])
    for words, sample, alone in _samples(maker):
        tell(words)
        written += sample.written
        done = measurer.run(sample.path, options)
        runs.append(_run_of(sample, done, resources.small_bytes, alone=alone))
        usage = done.report["usage"]
        peaks = [max(peaks[0], usage["coordinator_peak_bytes"]), max(peaks[1], usage["worker_peak_bytes"])]
    if not runs:
        return None, written
    tell("what follows from that")
    start_s = statistics.median(one.wall_s for one in starts)
    start_machine_s = statistics.median(one.machine_s for one in starts)
    cpus = inspect_machine().cpus
    path = fit_path(runs, start_s=start_s, start_machine_s=start_machine_s, cpus=cpus, resources=resources)
    return replace(path, coordinator_memory_bytes=peaks[0], worker_memory_bytes=peaks[1]), written


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


def _resources_of(done: Measured) -> Resources:
    """As the run decided them."""
    told: dict[str, Any] = done.report["settings"]
    names = ("workers", "streams", "window_bytes", "small_streams", "small_bytes", "memory_bytes", "proc")
    return Resources(**{name: told[name] for name in names}, connections=256, open_files=1024, files_wanted=0)
