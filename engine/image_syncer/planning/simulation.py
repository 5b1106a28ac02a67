"""Simulation: how a run would go, in virtual time.

What decides in a run decides here: the real `Scheduler` with the real `StreamTuner` gets the blobs of a `Workload` in
the order in which a run would want them, and its leases are carried out by fluid flows (`flows.py`) over the workers'
processors, the coordinator's, the machine's, and the paths between registries. What a piece of work takes comes from
`MeasuredPath`. So how blobs are split among workers, mounted, fanned out and tuned cannot drift from what a run does;
what is reckoned is only how long each step takes.

Not reckoned: faults, retries and what registries refuse; nothing is lost, and nobody asks to be left alone.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from image_syncer.planning.blob_set import BlobNeed, BlobSet
from image_syncer.planning.flows import FlowKind, Flows
from image_syncer.planning.forecast import (
    COORDINATOR,
    MACHINE,
    WAITING,
    Forecast,
    Host,
    Phase,
    bottleneck_of,
    summarize_phases,
)
from image_syncer.planning.job import Arrival, BlobLanded, Lease, TargetResult
from image_syncer.planning.retry import ONCE
from image_syncer.planning.scheduler import Scheduler
from image_syncer.planning.stream_tuner import StreamTuner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from image_syncer.planning.job import Decision, Job
    from image_syncer.planning.measured import Cost, MeasuredPath
    from image_syncer.planning.resources import Resources
    from image_syncer.planning.workload import WorkImage, Workload

__all__ = ["IMAGES_UNDER_WAY", "simulate"]

IMAGES_UNDER_WAY = 256
"""As `coordinator.rules` has it."""
SAMPLE_S = 0.5
"""How often the scheduler is told how far transfers are, and thinks about streams."""
REQUESTS_OF_A_TAG = 2
"""For which `MeasuredPath.tag` stands: one to the source, one to a destination."""


@dataclass(eq=False)
class _Image:
    """One image under way: the destinations that still lack it, and how many blobs each delivery waits for."""

    work: WorkImage
    open: int = 0


@dataclass(eq=False)
class _Delivery:
    image: _Image
    path: MeasuredPath
    left: int


@dataclass(eq=False)
class _Running:
    """A job in a worker, once its first answers have come."""

    worker: int
    job: Job
    arrival: Arrival
    kind: FlowKind | None = None


@dataclass(eq=False)
class _Step:
    """Work of the coordinator, and what comes after it."""

    then: Callable[[], None] = field(repr=False)


def simulate(
    workload: Workload, path_of: Callable[[str, str], MeasuredPath], resources: Resources, host: Host
) -> Forecast:
    """How a run of `workload` with `resources` would go on `host`, where `path_of(source, destination)` says what was
    measured between two registries. Raises ValueError where the measurements bound nothing.
    """
    return _Simulation(workload, path_of, resources, host).run()


class _Simulation:
    def __init__(
        self,
        workload: Workload,
        path_of: Callable[[str, str], MeasuredPath],
        resources: Resources,
        host: Host,
    ) -> None:
        self._workload = workload
        self._path_of = path_of
        self._resources = resources
        self._images: Iterator[WorkImage] = iter(workload.images)
        sources, destinations = workload.registries
        self._paths = {(one, other): path_of(one, other) for one in sources for other in destinations or {""}}
        self._first = next(iter(self._paths.values()), None)
        capacities = {MACHINE: host.cores, COORDINATOR: 1.0}
        capacities.update({_worker(number): 1.0 for number in range(resources.workers)})
        for (source, destination), path in self._paths.items():
            if path.limits.path_bytes_per_s is not None:
                capacities[_path(source, destination)] = path.limits.path_bytes_per_s
        if host.link_bytes_per_s is not None:
            capacities.update({"link in": host.link_bytes_per_s, "link out": host.link_bytes_per_s})
        self._flows: Flows[_Running | _Step] = Flows(capacities)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._now = 0.0
        self._scheduler = Scheduler(
            streams=resources.streams,
            workers=resources.workers,
            proc=resources.proc,
            retry=ONCE,
            chance=lambda: 0.5,
            small_streams=resources.small_streams,
            small_bytes=resources.small_bytes,
            tuner=StreamTuner(resources.streams),
            blobs=BlobSet(),
        )
        self._deliveries: dict[int, _Delivery] = {}
        self._running: dict[tuple[int, int], _Running] = {}
        self._under_way = 0
        self._begins = bool(workload.images)
        self._started = False
        self._samples = False
        self._cpu_s = 0.0
        self._moved = [0, 0, 0]
        self._phases: list[Phase] = []

    def run(self) -> Forecast:
        first = self._first
        if first is not None:
            self._after(first.start_s, self._begin_images)
        while self._begins or self._under_way:
            at = min(self._flows.next_at(), self._timers[0][0] if self._timers else math.inf)
            if math.isinf(at):
                raise ValueError("nothing that was measured says how long the rest takes")
            self._note_phase(at)
            ended = self._flows.advance(at)
            self._now = at
            for token in ended:
                if isinstance(token, _Step):
                    token.then()
                else:
                    self._end_job(token)
            while self._timers and self._timers[0][0] <= self._now:
                heapq.heappop(self._timers)[2]()
        memory = 0
        if first is not None:
            workers = self._resources.workers if self._started else 0
            memory = first.coordinator_memory_bytes + workers * first.worker_memory_bytes
        bytes_moved, blobs_moved, mounted = self._moved
        machine_s = self._flows.used[MACHINE]
        phases = tuple(summarize_phases(self._phases))
        return Forecast(self._now, bytes_moved, blobs_moved, mounted, self._cpu_s, machine_s, memory, phases)

    # Images

    def _begin_images(self) -> None:
        while self._under_way < IMAGES_UNDER_WAY:
            work = next(self._images, None)
            if work is None:
                self._begins = False
                return
            self._under_way += 1
            image = _Image(work, len(work.destinations))
            path = self._path(work, work.destinations[0].registry if work.destinations else "")
            share = (1 + work.destinations_asked) / REQUESTS_OF_A_TAG
            self._coordinate(path.tag, share, lambda image=image: self._looked(image))  # type: ignore[misc]

    def _looked(self, image: _Image) -> None:
        work = image.work
        if not work.destinations:
            self._end_image()
            return
        if not self._started:
            self._start_workers(self._path(work, work.destinations[0].registry))
        path = self._path(work, work.destinations[0].registry)
        self._coordinate(path.image, work.manifests / 2, lambda: self._read(image))

    def _read(self, image: _Image) -> None:
        needs: list[BlobNeed] = []
        work = image.work
        for destination in work.destinations:
            number = self._next_number()
            path = self._path(work, destination.registry)
            blobs = list(dict.fromkeys(work.blobs))
            self._deliveries[number] = _Delivery(image, path, len(blobs))
            needs += [BlobNeed(blob.digest, blob.size, work.source, destination, number) for blob in blobs]
            if not blobs:
                self._publish(number)
        self._carry_out(self._scheduler.want(needs))

    def _publish(self, number: int) -> None:
        delivery = self._deliveries.pop(number)
        work = delivery.image.work
        share = work.manifests / 2 / max(1, len(work.destinations))
        self._coordinate(delivery.path.image, share, lambda: self._published(delivery.image))

    def _published(self, image: _Image) -> None:
        image.open -= 1
        if not image.open:
            self._end_image()

    def _end_image(self) -> None:
        self._under_way -= 1
        self._begin_images()

    # Workers

    def _start_workers(self, path: MeasuredPath) -> None:
        self._started = True
        self._cpu_s += path.workers.coordinator_s + path.workers.worker_s
        for number in range(self._resources.workers):
            self._after(path.workers_start_s, lambda number=number: self._join(number))  # type: ignore[misc]

    def _join(self, number: int) -> None:
        self._carry_out(self._scheduler.join(number))
        if not self._samples:
            self._samples = True
            self._after(SAMPLE_S, self._sample)

    def _sample(self) -> None:
        for worker in range(self._resources.workers):
            received = {}
            for job in self._scheduler.jobs_of(worker):
                running = self._running.get((worker, job.id))
                if running is not None and running.kind is not None and not job.small:
                    received[job.id] = max(0, round(job.size - self._flows.left_of(running.kind, running)))
            self._scheduler.progress(worker, received)
        self._carry_out(self._scheduler.sample(self._now))
        if self._under_way:
            self._after(SAMPLE_S, self._sample)

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Lease):
                self._begin_job(decision.worker, decision.job)
            elif isinstance(decision, BlobLanded):
                delivery = self._deliveries[decision.delivery]
                delivery.left -= 1
                if not delivery.left:
                    self._publish(decision.delivery)

    def _begin_job(self, worker: int, job: Job) -> None:
        target = job.targets[0]
        registry = target.repository.registry
        path = self._path_of(job.source.registry, registry)
        if target.mounts:
            arrival, cost = Arrival.MOUNTED, path.mount
        elif (registry, job.digest) in self._workload.present:
            arrival, cost = Arrival.PRESENT, path.mount
        else:
            arrival, cost = Arrival.MOVED, path.small if job.small else path.stream
        running = _Running(worker, job, arrival)
        self._running[worker, job.id] = running
        self._after(cost.latency_s, lambda: self._move(running, path, cost))

    def _move(self, running: _Running, path: MeasuredPath, cost: Cost) -> None:
        worker, job, byte = running.worker, running.job, path.byte
        size = job.size if running.arrival is Arrival.MOVED else 0
        share = 1 + path.further_destination * (len(job.targets) - 1)
        worker_s = cost.worker_s + size * byte.worker_s * share
        coordinator_s = cost.coordinator_s + size * byte.coordinator_s * share
        machine_s = cost.machine_s + size * byte.machine_s * share
        self._cpu_s += worker_s + coordinator_s
        source, name = job.source.registry, running.arrival.value
        if size and not job.small:
            running.kind = self._stream_kind(worker, job, path)
            # What a stream takes beside its bytes, told in bytes.
            self._flows.begin(running.kind, max(1.0, worker_s / (byte.worker_s * share)), running)
            return
        if worker_s <= 0:
            self._after(0.0, lambda: self._end_job(running))
            return
        demands = {_worker(worker): 1.0, COORDINATOR: coordinator_s / worker_s, MACHINE: machine_s / worker_s}
        coarse = f"{math.log2(1 + size):.0f}"
        kind = FlowKind((name, source, str(worker), coarse), demands)
        self._flows.begin(kind, worker_s, running)

    def _stream_kind(self, worker: int, job: Job, path: MeasuredPath) -> FlowKind:
        byte, source = path.byte, job.source.registry
        share = 1 + path.further_destination * (len(job.targets) - 1)
        registries = sorted(target.repository.registry for target in job.targets)
        demands = {
            _worker(worker): byte.worker_s * share,
            COORDINATOR: byte.coordinator_s * share,
            MACHINE: byte.machine_s * share,
            "link in": 1.0,
            "link out": float(len(registries)),
        }
        demands.update({_path(source, registry): 1.0 for registry in registries})
        limits = [self._path_of(source, registry).limits.stream_bytes_per_s for registry in registries]
        most = min((each for each in limits if each is not None), default=math.inf)
        weight = 1 / byte.worker_s if byte.worker_s else 1.0
        return FlowKind(("stream", str(worker), source, *registries), demands, weight, most)

    def _end_job(self, running: _Running) -> None:
        worker, job = running.worker, running.job
        del self._running[worker, job.id]
        moved = job.size if running.arrival is Arrival.MOVED else 0
        self._moved[0] += moved * len(job.targets)
        self._moved[1] += len(job.targets) if moved else 0
        self._moved[2] += len(job.targets) if running.arrival is Arrival.MOUNTED else 0
        results = [TargetResult(running.arrival, moved) for _ in job.targets]
        self._carry_out(self._scheduler.end(worker, job.id, results, self._now))

    # Time

    def _coordinate(self, cost: Cost, share: float, then: Callable[[], None]) -> None:
        """What the coordinator does for an image: its own processor time, then what the registries take."""
        own_s = cost.coordinator_s * share
        self._cpu_s += own_s

        def wait() -> None:
            self._after(cost.latency_s * min(share, 1.0), then)

        if own_s <= 0:
            wait()
            return
        kind = FlowKind((COORDINATOR, f"{cost.machine_s / cost.coordinator_s:.6f}"), _of_coordinator(cost))
        self._flows.begin(kind, own_s, _Step(wait))

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self._now + seconds, self._next_number(), then))

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _path(self, work: WorkImage, destination: str) -> MeasuredPath:
        return self._path_of(work.source.registry, destination)

    def _note_phase(self, until: float) -> None:
        if until <= self._now:
            return
        name = bottleneck_of(self._flows.full) if len(self._flows) else WAITING
        phases = self._phases
        if phases and phases[-1].bottleneck == name:
            phases[-1] = Phase(phases[-1].began_s, until, name)
        else:
            phases.append(Phase(self._now, until, name))


def _of_coordinator(cost: Cost) -> dict[str, float]:
    return {COORDINATOR: 1.0, MACHINE: cost.machine_s / cost.coordinator_s}


def _worker(number: int) -> str:
    return f"worker {number}"


def _path(source: str, destination: str) -> str:
    return f"{source} → {destination}"
