"""Workloads, measured paths and plans for simulations, and runs that take what a path says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.capacity.fit import MeasuredRun, count_pieces
from image_syncer.capacity.forecast import Host, WorkBlob, WorkImage, Workload
from image_syncer.capacity.measured import Cost, MeasuredPath
from image_syncer.capacity.simulation import simulate
from image_syncer.config import Settings
from image_syncer.oci import Repository, digest_of
from image_syncer.reporting.plan_file import ImageShape, PlannedBlob, PlanWriter
from image_syncer.scheduling import Machine, decide_resources
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from image_syncer.capacity.forecast import Forecast, Track

KIB, MIB = 2**10, 2**20
SOURCE, DESTINATION = Repository("source.example", "a"), Repository("destination.example", "a")
PATH = MeasuredPath(
    cores=2.0,
    start_s=0.1,
    workers_start_s=0.1,
    tag=Cost(100e-6, 0.0, 150e-6, 0.002),
    image=Cost(200e-6, 0.0, 300e-6, 0.004),
    mount=Cost(50e-6, 150e-6, 300e-6, 0.001),
    small=Cost(100e-6, 250e-6, 500e-6, 0.003),
    stream=Cost(100e-6, 400e-6, 700e-6, 0.003),
    byte=Cost(0.0, 1.5e-9, 2e-9),
    coordinator_memory_bytes=60 * MIB,
    worker_memory_bytes=50 * MIB,
)
RESOURCES = decide_resources(Settings(workers=2), Machine(cpus=2))
UNCHANGED = WorkImage(SOURCE, ())


def blob(name: str, size: int) -> WorkBlob:
    return WorkBlob(digest_of(name.encode()), size)


def images(count: int, blobs: int, size: int, *, name: str = "a", repositories: int = 1) -> list[WorkImage]:
    """Images with `blobs` layers of `size` bytes each, which no other image has."""
    return [
        WorkImage(
            Repository("source.example", f"{name}{number % repositories}"),
            (Repository("destination.example", f"{name}{number % repositories}"),),
            tuple(blob(f"{name} {number} {one}", size) for one in range(blobs)),
        )
        for number in range(count)
    ]


def forecast(
    *work: WorkImage,
    path: MeasuredPath = PATH,
    host: Host | None = None,
    present: Iterable[tuple[str, WorkBlob]] = (),
    track: Track | None = None,
) -> Forecast:
    """A run with two workers of `work`, where every path is `path`."""
    workload = Workload(work, frozenset((registry, there.digest) for registry, there in present))
    return simulate(workload, lambda _source, _destination: path, RESOURCES, host or Host(path.cores), track)


def measured(path: MeasuredPath, *work: WorkImage) -> MeasuredRun:
    """A run that takes what `path` says."""
    counts = count_pieces(Workload(work), RESOURCES.small_bytes)
    cost = sum((getattr(path, name) * count for name, count in counts.items()), Cost())
    return MeasuredRun(Workload(work), forecast(*work, path=path).seconds, cost)


def write_plan(path: Path, sizes: Iterable[int | None], *, source: str = "a.example", manifests: int = 1) -> Path:
    """A plan from `source` to "b.example" with an image for each size in bytes, of its one layer; None: unchanged."""
    writer = PlanWriter(str(path))
    for number, size in enumerate(sizes):
        names = f"{source}/team/app:v{number}", f"b.example/mirror/app:v{number}"
        digest = f"sha256:{number + 1:064x}"
        if size is not None:
            writer.note_shape(*names, ImageShape(manifests, (PlannedBlob(digest, size),)))
        outcome = Outcome.UNCHANGED if size is None else Outcome.PLANNED
        writer.add(ImageResult(*names, outcome, source_digest=digest, destination_digest=digest))
    writer.close(Report(settings={}, totals=Totals(), started_at="2026-01-01T00:00:00+00:00", seconds=1.0))
    return path
