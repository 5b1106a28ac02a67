"""From runs that were measured to what a piece of work takes.

Processor time is the sum of what tags, images, blobs and bytes take, each times their number. What they take is found
by least squares over the runs (relative errors, nothing below zero), held near to what is usual where the runs do not
tell: three kinds of blobs cannot be told apart by two runs. Then latencies, bounds of the path and the processors that
were really to be had are set so that the simulation takes as long as the runs did.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from image_syncer.planning.forecast import Host
from image_syncer.planning.measured import Cost, MeasuredPath, PathLimits
from image_syncer.planning.simulation import simulate
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from image_syncer.planning.resources import Resources
    from image_syncer.planning.workload import Workload

__all__ = ["USUAL", "MeasuredRun", "Pieces", "count_pieces", "fit_path", "mean_error"]

USUAL = MeasuredPath(
    cores=1.0,
    start_s=0.15,
    workers_start_s=0.15,
    tag=Cost(90e-6, 0.0, 140e-6, 0.001),
    image=Cost(250e-6, 0.0, 400e-6, 0.003),
    mount=Cost(60e-6, 150e-6, 300e-6, 0.001),
    small=Cost(90e-6, 230e-6, 450e-6, 0.003),
    stream=Cost(100e-6, 450e-6, 700e-6, 0.003),
    byte=Cost(0.01e-9, 1.4e-9, 2.0e-9),
    workers=Cost(0.005, 0.3, 0.32),
    further_destination=0.3,
    coordinator_memory_bytes=60 * 2**20,
    worker_memory_bytes=50 * 2**20,
)
"""What things take on a processor of 2024, to and from registries on the same machine that are faster than we."""

NEAR = 0.02
"""How much the usual counts, beside a run that was measured."""
ROUNDS = 400
"""Of coordinate descent: more than it takes for seven unknowns."""
STEPS = (1.5, 1.15, 1.05, 1.02)
"""Factors by which what is calibrated is changed, the coarsest first."""
ROUND_TRIPS = 3
"""Of a small blob: its upload is begun, it is read, it is sent."""
MOST_TRIES = 120
"""Simulations of all runs: some seconds."""
LEAST_SPREAD = 0.03
"""Of runs that are the same, on a machine that does nothing else."""
GOOD = 0.01
"""An error that is smaller than any measurement."""
FULL = 0.8
"""Of the processors: where so much of them was used, they were what bounded the run."""


class MeasuredRun(Value, frozen=True):
    """One run: what it had to do, and what that took. Seconds; `workers_s` of all workers together, `machine_s` of the
    whole machine (0: not known).

    `first_s` is the shortest time that a small blob took, and `stream_bytes_per_s` the fastest single transfer where
    there was no other.
    """

    workload: Workload
    wall_s: float
    coordinator_s: float
    workers_s: float
    machine_s: float
    first_s: float | None = None
    stream_bytes_per_s: float | None = None


class Pieces(Value, frozen=True):
    """How much work of each kind there is. `byte` counts those of the first destination and, for their part, those of
    further ones; `workers` is 1 where they are started.
    """

    tag: float = 0.0
    image: float = 0.0
    mount: float = 0.0
    small: float = 0.0
    stream: float = 0.0
    byte: float = 0.0
    workers: float = 0.0


def count_pieces(workload: Workload, small_bytes: int, further: float = USUAL.further_destination) -> Pieces:
    """The pieces of `workload`, where blobs up to `small_bytes` go the short way."""
    tag = image = mount = small = stream = byte = 0.0
    seen: set[tuple[str, str]] = set()
    homes: set[tuple[str, str, str]] = set()
    for work in workload.images:
        tag += (1 + work.destinations_asked) / 2
        image += work.manifests * (1 + len(work.destinations)) / 2 if work.destinations else 0.0
        for blob in dict.fromkeys(work.blobs):
            moved = 0
            for destination in work.destinations:
                place = (destination.registry, destination.name, str(blob.digest))
                if place in homes:
                    continue
                homes.add(place)
                there = (destination.registry, blob.digest) in workload.present
                if (destination.registry, str(blob.digest)) in seen or there:
                    mount += 1
                else:
                    moved += 1
                seen.add((destination.registry, str(blob.digest)))
            if moved:
                small += blob.size <= small_bytes
                stream += blob.size > small_bytes
                byte += blob.size * (1 + further * (moved - 1))
    return Pieces(tag, image, mount, small, stream, byte, float(image > 0))


def fit_path(
    runs: Sequence[MeasuredRun],
    *,
    start_s: float,
    cpus: int,
    resources: Resources,
    start_machine_s: float = 0.0,
    usual: MeasuredPath = USUAL,
) -> MeasuredPath:
    """What `runs` say of their path, on a machine with so many processors. A run without work takes `start_s`, and of
    the machine's processors `start_machine_s`, which is in the figures of `runs`, too. Raises ValueError where there
    are none.
    """
    if not runs:
        raise ValueError("nothing was measured")
    pieces = [count_pieces(run.workload, resources.small_bytes) for run in runs]
    costs = {
        part: _least_squares(
            pieces,
            [getattr(run, f"{part}_s") - (start_machine_s if part == "machine" else 0.0) for run in runs],
            {name: getattr(getattr(usual, name), _FIELD[part]) for name in _NAMES},
        )
        for part in ("coordinator", "workers", "machine")
    }
    found: dict[str, Any] = {
        name: Cost(
            costs["coordinator"][name],
            costs["workers"][name],
            max(costs["machine"][name], costs["coordinator"][name] + costs["workers"][name]),
            getattr(usual, name).latency_s,
        )
        for name in _NAMES
    }
    usages = [
        (run.machine_s - start_machine_s) / max(run.wall_s - start_s, run.wall_s / 4)
        for run in runs
        if run.workload.bytes_to_move()
    ]
    bounded = statistics.median(usages or [0.0]) < FULL * cpus
    path = replace(usual, **found, cores=float(cpus), start_s=start_s)
    path = _calibrate(_with_limits(path, runs, bounded=bounded), runs, resources, bounded=bounded)
    return replace(path, spread=max(LEAST_SPREAD, mean_error(path, runs, resources)))


def mean_error(path: MeasuredPath, runs: Sequence[MeasuredRun], resources: Resources) -> float:
    """How far the simulation is from the runs: the root of the mean square of the logarithms of their quotients."""
    host = Host(path.cores)
    total = 0.0
    for run in runs:
        done = simulate(run.workload, lambda _source, _destination: path, resources, host)
        total += math.log(done.seconds / run.wall_s) ** 2
    return math.sqrt(total / len(runs))


_NAMES = ("tag", "image", "mount", "small", "stream", "byte", "workers")
_FIELD = {"coordinator": "coordinator_s", "workers": "worker_s", "machine": "machine_s"}


def _least_squares(pieces: Sequence[Pieces], seconds: Sequence[float], usual: Mapping[str, float]) -> dict[str, float]:
    """Coordinate descent over the names of `usual`: each in turn is what is best while the others stay, and not below
    zero. The unknowns are multiples of the usual.
    """
    rows = [
        ([getattr(each, name) * usual[name] / took for name in _NAMES], 1.0)
        for each, took in zip(pieces, seconds, strict=True)
        if took > 0
    ]
    scale = [1.0] * len(_NAMES)
    for _ in range(ROUNDS):
        for place, name in enumerate(_NAMES):
            if usual[name] <= 0:
                continue
            above, below = NEAR, NEAR
            for row, wanted in rows:
                rest = wanted - sum(
                    each * by for other, (each, by) in enumerate(zip(row, scale, strict=True)) if other != place
                )
                above += row[place] * rest
                below += row[place] ** 2
            scale[place] = max(0.0, above / below)
    return {name: usual[name] * by for name, by in zip(_NAMES, scale, strict=True)}


def _with_limits(path: MeasuredPath, runs: Sequence[MeasuredRun], *, bounded: bool) -> MeasuredPath:
    """Latencies of the blobs, and what bounds the path where the processors do not."""
    firsts = [run.first_s for run in runs if run.first_s is not None]
    streams = [run.stream_bytes_per_s for run in runs if run.stream_bytes_per_s is not None]
    if firsts:
        first = max(0.0, min(firsts) - path.small.worker_s)
        trip = first / ROUND_TRIPS
        path = replace(
            path,
            tag=replace(path.tag, latency_s=trip),
            image=replace(path.image, latency_s=trip),
            mount=replace(path.mount, latency_s=trip),
            small=replace(path.small, latency_s=first),
            stream=replace(path.stream, latency_s=first),
        )
    stream = max(streams) if streams else None
    rates = [run.workload.bytes_to_move() / max(run.wall_s - path.start_s, run.wall_s / 10) for run in runs]
    bound = 1.1 * max(rates) if bounded and max(rates) > 0 else None
    return replace(path, limits=PathLimits(stream, bound))


_Knob = tuple["Callable[[MeasuredPath], float | None]", "Callable[[MeasuredPath, float], MeasuredPath]"]


def _calibrate(path: MeasuredPath, runs: Sequence[MeasuredRun], resources: Resources, *, bounded: bool) -> MeasuredPath:
    """Turn one thing after another until the simulation is as near to the runs as it gets. Of the processors, at least
    half are to be had; where the path is what bounds it, all of them.
    """
    most = path.cores
    knobs: tuple[_Knob, ...] = (
        (
            lambda one: None if bounded else one.cores,
            lambda one, value: replace(one, cores=min(max(value, most / 2), most)),
        ),
        (
            lambda one: one.limits.path_bytes_per_s,
            lambda one, value: replace(one, limits=replace(one.limits, path_bytes_per_s=value)),
        ),
        (lambda one: one.image.latency_s, lambda one, value: replace(one, image=replace(one.image, latency_s=value))),
        (lambda one: one.tag.latency_s, lambda one, value: replace(one, tag=replace(one.tag, latency_s=value))),
        (lambda one: one.workers_start_s, lambda one, value: replace(one, workers_start_s=value)),
    )
    best, tries = mean_error(path, runs, resources), 1
    for step in STEPS:
        better = True
        while better and best > GOOD and tries < MOST_TRIES:
            better = False
            for read, write in knobs:
                value = read(path)
                for factor in (step, 1 / step) if value is not None else ():
                    assert value is not None
                    tried = write(path, value * factor)
                    error, tries = mean_error(tried, runs, resources), tries + 1
                    if error < best * (1 - 1e-6):
                        path, best, better = tried, error, True
                        break
    return path
