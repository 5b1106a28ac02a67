"""Fits the figures of a path to measured runs.

Processor time is the sum of the costs of tags, images, blobs and bytes. The costs are found by least squares over the
runs (relative errors, nothing below zero), and kept near usual values where the runs say little. Then latencies,
bandwidths and available processors are set so that the simulation takes as long as the runs did.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from image_syncer.capacity.forecast import Host
from image_syncer.capacity.measured import KINDS, Cost, MeasuredPath, PathLimits
from image_syncer.capacity.simulation import simulate
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from image_syncer.capacity.forecast import Workload
    from image_syncer.oci import Digest, Repository
    from image_syncer.scheduling.resources import Resources


USUAL = MeasuredPath(
    cores=1.0,
    start_s=0.15,
    workers_start_s=0.15,
    tag=Cost(130e-6, 0.0, 160e-6, 0.001),
    image=Cost(250e-6, 0.0, 400e-6, 0.003),
    mount=Cost(60e-6, 150e-6, 300e-6, 0.001),
    small=Cost(110e-6, 320e-6, 500e-6, 0.003),
    stream=Cost(130e-6, 450e-6, 700e-6, 0.003),
    byte=Cost(0.01e-9, 1.5e-9, 2.1e-9),
    workers=Cost(0.016, 0.040, 0.060),
    further_destination=0.3,
    coordinator_memory_bytes=60 * 2**20,
    worker_memory_bytes=50 * 2**20,
)
"""Costs on a processor of 2024, to and from fast registries on the same machine."""

NEAR = 0.02
"""The weight of the usual values, beside a measured run."""
ROUNDS = 400
"""Of coordinate descent: more than seven unknowns take."""
STEPS = (1.5, 1.15, 1.05, 1.02)
"""Factors of calibration, the coarsest first."""
ROUND_TRIPS = 3
"""Of a small blob: its upload is begun, it is read, it is sent."""
MOST_TRIES = 120
"""Simulations of all runs: some seconds."""
LEAST_SPREAD = 0.03
"""Of equal runs, on an idle machine."""
LEAST_COMMON = 0.2
"""A machine is not more than five times as fast as the usual one."""
LEAST_WEIGHT = 0.05
"""Of a run that is all start."""
GOOD = 0.01
"""An error that is smaller than any measurement."""
FULL = 0.8
"""The part of the processors from which on they limit a run."""


class MeasuredRun(Value, frozen=True):
    """One run: its workload, its time, and the processor seconds of its coordinator, of all workers together, and of
    the whole machine (0: not known). `first_s` is the shortest time of a small blob, and `stream_bytes_per_s` the rate
    of a single stream where there was no other.
    """

    workload: Workload
    wall_s: float
    cost: Cost
    first_s: float | None = None
    stream_bytes_per_s: float | None = None


def count_pieces(workload: Workload, small_bytes: int) -> dict[str, float]:
    """The pieces of `workload` by `KINDS`, where blobs up to `small_bytes` are small. `byte` counts those of the first
    destination and, in part, those of further ones; `workers` is 1 where they are started.
    """
    pieces = dict.fromkeys(KINDS, 0.0)
    there: set[tuple[str, Digest]] = set(workload.present)
    homes: set[tuple[Repository, Digest]] = set()
    for work in workload.images:
        pieces["tag"] += work.tags
        pieces["image"] += work.manifests * (1 + len(work.destinations)) / 2 if work.destinations else 0.0
        for blob in dict.fromkeys(work.blobs):
            moved = 0
            for destination in work.destinations:
                if (destination, blob.digest) in homes:
                    continue
                homes.add((destination, blob.digest))
                if (destination.registry, blob.digest) in there:
                    pieces["mount"] += 1
                else:
                    moved += 1
                there.add((destination.registry, blob.digest))
            if moved:
                pieces["small" if blob.size <= small_bytes else "stream"] += 1
                pieces["byte"] += blob.size * USUAL.copies(moved)
    pieces["workers"] = float(pieces["image"] > 0)
    return pieces


def fit_path(runs: Sequence[MeasuredRun], *, start_s: float, cpus: int, resources: Resources) -> MeasuredPath:
    """The figures of a path on a machine with `cpus` processors, from `runs`. A run without work takes `start_s`.
    Raises ValueError where there are no runs.
    """
    if not runs:
        raise ValueError("nothing was measured")
    pieces = [count_pieces(run.workload, resources.small_bytes) for run in runs]
    costs = {
        part: _least_squares(
            pieces,
            [getattr(run.cost, part) for run in runs],
            {name: getattr(getattr(USUAL, name), part) for name in KINDS},
        )
        for part in ("coordinator_s", "worker_s", "machine_s")
    }
    found: dict[str, Any] = {}
    for name in KINDS:
        cost = Cost(
            latency_s=getattr(USUAL, name).latency_s, **{part: by_name[name] for part, by_name in costs.items()}
        )
        found[name] = replace(cost, machine_s=max(cost.machine_s, cost.cpu_s))
    # The longest run that moves bytes: a short one is mostly start.
    longest = max(runs, key=lambda run: (run.workload.bytes_to_move() > 0, run.wall_s))
    bounded = longest.cost.machine_s / max(longest.wall_s - start_s, longest.wall_s / 4) < FULL * cpus
    path = replace(USUAL, **found, cores=float(cpus), start_s=start_s)
    path = _calibrate(_with_limits(path, runs, bounded=bounded), runs, resources, bounded=bounded)
    return replace(path, spread=max(LEAST_SPREAD, mean_error(path, runs, resources)))


def mean_error(path: MeasuredPath, runs: Sequence[MeasuredRun], resources: Resources) -> float:
    """The difference between simulation and runs: the root of the mean square of the logarithms of their quotients. A
    run counts by the part of its time that is not start, since what is extrapolated is the rest.
    """
    host = Host(path.cores)
    total = weights = 0.0
    for run in runs:
        done = simulate(run.workload, lambda _source, _destination: path, resources, host)
        weight = max(LEAST_WEIGHT, 1 - path.start_s / run.wall_s)
        total += weight * math.log(done.seconds / run.wall_s) ** 2
        weights += weight
    return math.sqrt(total / weights)


def _least_squares(
    pieces: Sequence[Mapping[str, float]], seconds: Sequence[float], usual: Mapping[str, float]
) -> dict[str, float]:
    """Coordinate descent over the names of `usual`: each in turn gets its best value, not below zero, while the others
    stay. The unknowns are multiples of the usual.
    """
    timed = [(took, each) for took, each in zip(seconds, pieces, strict=True) if took > 0]
    if timed:  # the machine may be slower, or its registries: all pieces alike, before one differs from another
        took, longest = max(timed, key=lambda run: run[0])
        work = sum(longest[name] * usual[name] for name in KINDS if name != "workers")
        common = (took - longest["workers"] * usual["workers"]) / work if work > 0 else 1.0
        usual = {name: each * (1.0 if name == "workers" else max(LEAST_COMMON, common)) for name, each in usual.items()}
    rows = [[each[name] * usual[name] / took for name in KINDS] for took, each in timed]
    scale = [1.0] * len(KINDS)
    for _ in range(ROUNDS):
        for place, name in enumerate(KINDS):
            if usual[name] <= 0:
                continue
            above, below = NEAR, NEAR
            for row in rows:
                rest = 1.0 - sum(
                    each * by for other, (each, by) in enumerate(zip(row, scale, strict=True)) if other != place
                )
                above += row[place] * rest
                below += row[place] ** 2
            scale[place] = max(0.0, above / below)
    return {name: usual[name] * by for name, by in zip(KINDS, scale, strict=True)}


def _with_limits(path: MeasuredPath, runs: Sequence[MeasuredRun], *, bounded: bool) -> MeasuredPath:
    """Set the latencies of blobs, and the bandwidths where the processors are not the limit."""
    firsts = [run.first_s for run in runs if run.first_s is not None]
    streams = [run.stream_bytes_per_s for run in runs if run.stream_bytes_per_s is not None]
    if firsts:
        first = max(0.0, min(firsts) - path.small.worker_s)
        trip = first / ROUND_TRIPS
        path = _with_latencies(path, tag=trip, image=trip, mount=trip, small=first, stream=first)
    stream = max(streams) if streams else None
    rates = [run.workload.bytes_to_move() / max(run.wall_s - path.start_s, run.wall_s / 10) for run in runs]
    bound = 1.1 * max(rates) if bounded and max(rates) > 0 else None
    return replace(path, limits=PathLimits(stream, bound))


def _with_latencies(path: MeasuredPath, **latencies: float) -> MeasuredPath:
    return replace(path, **{name: replace(getattr(path, name), latency_s=each) for name, each in latencies.items()})


def _with_path_limit(path: MeasuredPath, by: float) -> MeasuredPath:
    bound = path.limits.path_bytes_per_s
    return replace(path, limits=replace(path.limits, path_bytes_per_s=None if bound is None else bound * by))


def _calibrate(path: MeasuredPath, runs: Sequence[MeasuredRun], resources: Resources, *, bounded: bool) -> MeasuredPath:
    """Multiply one figure after another until the simulation is as near to the runs as it gets. At least half of the
    processors are available; where the path is the limit, all of them.
    """
    most = path.cores
    knobs: list[Callable[[MeasuredPath, float], MeasuredPath]] = [
        lambda one, by: _with_latencies(one, image=one.image.latency_s * by),
        lambda one, by: _with_latencies(one, tag=one.tag.latency_s * by),
        lambda one, by: replace(one, workers_start_s=one.workers_start_s * by),
    ]
    if path.limits.path_bytes_per_s is not None:
        knobs.insert(0, _with_path_limit)
    if not bounded:
        knobs.insert(0, lambda one, by: replace(one, cores=min(max(one.cores * by, most / 2), most)))
    best, tries = mean_error(path, runs, resources), 1
    for step in STEPS:
        better = True
        while better and best > GOOD and tries < MOST_TRIES:
            better = False
            for knob in knobs:
                for factor in (step, 1 / step):
                    tried = knob(path, factor)
                    error, tries = mean_error(tried, runs, resources), tries + 1
                    if error < best * (1 - 1e-6):
                        path, best, better = tried, error, True
                        break
    return path
