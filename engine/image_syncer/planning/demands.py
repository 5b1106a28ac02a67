"""Demands: what a piece of work asks of processors and paths, from what was measured. Plain arithmetic.

Resources go by names: each worker's processor and the coordinator's, of which each is one core at most; all cores of
the machine; the path from one registry to another, and the host's own link.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from image_syncer.planning.flows import FlowKind
from image_syncer.planning.forecast import COORDINATOR, MACHINE
from image_syncer.planning.job import Arrival
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.planning.forecast import Host
    from image_syncer.planning.job import Job
    from image_syncer.planning.measured import Cost, MeasuredPath

__all__ = ["Demand", "capacities_of", "coordinator_demand", "job_demand"]

LINK_IN, LINK_OUT = "link in", "link out"


class Demand(Value, frozen=True):
    """`work` units of `kind` (None: it takes nothing), of which processors take `cpu_s` seconds together, the machine's
    other processes not counted. Units are bytes where it `streams`, and else seconds of the processor that does it.
    """

    cpu_s: float
    work: float = 0.0
    kind: FlowKind | None = None
    streams: bool = False


def capacities_of(host: Host, workers: int, paths: Mapping[tuple[str, str], MeasuredPath]) -> dict[str, float]:
    """What there is of each resource, a second; `paths` by source and destination."""
    capacities = {MACHINE: host.cores, COORDINATOR: 1.0}
    capacities.update({_worker(number): 1.0 for number in range(workers)})
    for (source, destination), path in paths.items():
        if path.limits.path_bytes_per_s is not None:
            capacities[_path(source, destination)] = path.limits.path_bytes_per_s
    if host.link_bytes_per_s is not None:
        capacities.update({LINK_IN: host.link_bytes_per_s, LINK_OUT: host.link_bytes_per_s})
    return capacities


def coordinator_demand(cost: Cost, share: float) -> Demand:
    """Of work that the coordinator does itself, such a `share` of what was measured."""
    own_s = cost.coordinator_s * share
    if own_s <= 0:
        return Demand(own_s)
    demands = {COORDINATOR: 1.0, MACHINE: cost.machine_s / cost.coordinator_s}
    return Demand(own_s, own_s, FlowKind((COORDINATOR, f"{cost.machine_s / cost.coordinator_s:.6f}"), demands))


def job_demand(
    worker: int,
    job: Job,
    arrival: Arrival,
    path: MeasuredPath,
    cost: Cost,
    path_of: Callable[[str, str], MeasuredPath],
) -> Demand:
    """Of `job` in `worker`, over `path`: `cost` beside its bytes, and its bytes where they move. `path_of(source,
    destination)` says what was measured of the ways to its other destinations.
    """
    byte, source = path.byte, job.source.registry
    size = job.size if arrival is Arrival.MOVED else 0
    share = 1 + path.further_destination * (len(job.targets) - 1)
    worker_s = cost.worker_s + size * byte.worker_s * share
    coordinator_s = cost.coordinator_s + size * byte.coordinator_s * share
    machine_s = cost.machine_s + size * byte.machine_s * share
    cpu_s = worker_s + coordinator_s
    if size and not job.small:
        # What a stream takes beside its bytes, told in bytes.
        work = max(1.0, worker_s / (byte.worker_s * share) if byte.worker_s > 0 else size)
        return Demand(cpu_s, work, _stream_kind(worker, job, share, byte, path_of), streams=True)
    if worker_s <= 0:
        return Demand(cpu_s)
    demands = {_worker(worker): 1.0, COORDINATOR: coordinator_s / worker_s, MACHINE: machine_s / worker_s}
    coarse = f"{math.log2(1 + size):.0f}"
    return Demand(cpu_s, worker_s, FlowKind((arrival.value, source, str(worker), coarse), demands))


def _stream_kind(
    worker: int, job: Job, share: float, byte: Cost, path_of: Callable[[str, str], MeasuredPath]
) -> FlowKind:
    source = job.source.registry
    registries = sorted(target.repository.registry for target in job.targets)
    demands = {
        _worker(worker): byte.worker_s * share,
        COORDINATOR: byte.coordinator_s * share,
        MACHINE: byte.machine_s * share,
        LINK_IN: 1.0,
        LINK_OUT: float(len(registries)),
    }
    demands.update({_path(source, registry): 1.0 for registry in registries})
    limits = [path_of(source, registry).limits.stream_bytes_per_s for registry in registries]
    most = min((each for each in limits if each is not None), default=math.inf)
    weight = 1 / byte.worker_s if byte.worker_s else 1.0
    return FlowKind(("stream", str(worker), source, *registries), demands, weight, most)


def _worker(number: int) -> str:
    return f"worker {number}"


def _path(source: str, destination: str) -> str:
    return f"{source} → {destination}"
