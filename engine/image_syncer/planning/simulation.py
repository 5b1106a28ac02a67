"""Simulation: how a run would go, in virtual time.

What decides in a run decides here: the real `Scheduler` with the real `StreamTuner` gets the blobs of a `Workload` in
the order in which a run would want them, and its leases are carried out by fluid flows (`flows.py`) over the workers'
processors, the coordinator's, the machine's, and the paths between registries. What a piece of work takes comes from
`MeasuredPath`. So how blobs are split among workers, mounted, fanned out and tuned cannot drift from what a run does;
what is reckoned is only how long each step takes.

Not reckoned: faults, retries and what registries refuse; nothing is lost, and nobody asks to be left alone.

Demands: what a piece of work asks of processors and paths, from what was measured. Plain arithmetic.

Resources go by names: each worker's processor and the coordinator's, of which each is one core at most; all cores of
the machine; the path from one registry to another, and the host's own link.

Virtual time: it goes from one thing that happens to the next, a flow that ends or a timer that is due, and knows
what everything waited for meanwhile.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

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
from image_syncer.planning.job import Arrival, BlobLanded, BlobOutcome, Lease
from image_syncer.planning.retry import ONCE
from image_syncer.planning.scheduler import Scheduler
from image_syncer.planning.stream_tuner import StreamTuner
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from image_syncer.planning.foreseen import Track
    from image_syncer.planning.job import Decision, Job
    from image_syncer.planning.measured import Cost, MeasuredPath
    from image_syncer.planning.resources import Resources
    from image_syncer.planning.workload import WorkImage, Workload

__all__ = ["IMAGES_UNDER_WAY", "Demand", "VirtualTime", "capacities_of", "coordinator_demand", "job_demand", "simulate"]


_Token = TypeVar("_Token")


class VirtualTime(Generic[_Token]):
    """Time over resources with `capacities`, see `Flows`. It begins with 0, and is in seconds."""

    def __init__(self, capacities: Mapping[str, float]) -> None:
        self.now = 0.0
        self.flows: Flows[_Token] = Flows(capacities)
        self.phases: list[Phase] = []
        """What was used up, from when until when, so far."""
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timers_set = 0

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` when so much time has passed; those of one moment in the order in which they were set."""
        self._timers_set += 1
        heapq.heappush(self._timers, (self.now + seconds, self._timers_set, then))

    def step(self, on_ended: Callable[[_Token], None]) -> None:
        """Go on to the next thing that happens: `on_ended` is called for each flow that has ended, and then what timers
        were set for. Raises ValueError where nothing is going to happen.
        """
        at = min(self.flows.next_at(), self._timers[0][0] if self._timers else math.inf)
        if math.isinf(at):
            raise ValueError("nothing that was measured says how long the rest takes")
        self._note_phase(at)
        ended = self.flows.advance(at)
        self.now = at
        for token in ended:
            on_ended(token)
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def _note_phase(self, until: float) -> None:
        if until <= self.now:
            return
        name = bottleneck_of(self.flows.full) if len(self.flows) else WAITING
        phases = self.phases
        if phases and phases[-1].bottleneck == name:
            phases[-1] = Phase(phases[-1].began_s, until, name)
        else:
            phases.append(Phase(self.now, until, name))


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


IMAGES_UNDER_WAY = 256
"""As `coordinator.rules` has it."""
SAMPLES = 1000
"""So many in the time that has passed are enough: a run of a year takes some thousands, not a hundred million."""
SAMPLE_S = 0.5
"""How often the scheduler is told how far transfers are, and thinks about streams."""
REQUESTS_OF_A_TAG = 2
"""For which `MeasuredPath.tag` stands: one to the source, one to a destination."""


class _Image(Struct, eq=False):
    """One image under way: the destinations that still lack it, and how many blobs each delivery waits for."""

    work: WorkImage
    open: int = 0


class _Delivery(Struct, eq=False):
    image: _Image
    path: MeasuredPath
    left: int


class _Running(Struct, eq=False):
    """A job in a worker, once its first answers have come."""

    worker: int
    job: Job
    arrival: Arrival
    kind: FlowKind | None = None
    """Of a stream."""


class _Step(Struct, eq=False):
    """Work of the coordinator, and what comes after it."""

    then: Callable[[], None]

    __repr__ = repr_without("then")


def simulate(
    workload: Workload,
    path_of: Callable[[str, str], MeasuredPath],
    resources: Resources,
    host: Host,
    track: Track | None = None,
) -> Forecast:
    """How a run of `workload` with `resources` would go on `host`, where `path_of(source, destination)` says what was
    measured between two registries. `track` is told how far it is, about twice a second. Raises ValueError where the
    measurements bound nothing.
    """
    return _Simulation(workload, path_of, resources, host, track).run()


class _Simulation:
    def __init__(
        self,
        workload: Workload,
        path_of: Callable[[str, str], MeasuredPath],
        resources: Resources,
        host: Host,
        track: Track | None,
    ) -> None:
        self._track = track
        self._images_ended = 0
        self._workload = workload
        self._path_of = path_of
        self._resources = resources
        self._images: Iterator[WorkImage] = iter(workload.images)
        sources, destinations = workload.registries
        self._paths = {(one, other): path_of(one, other) for one in sources for other in destinations or {""}}
        self._first = next(iter(self._paths.values()), None)
        capacities = capacities_of(host, resources.workers, self._paths)
        self._time: VirtualTime[_Running | _Step] = VirtualTime(capacities)
        self._delivery = 0
        self._scheduler = Scheduler(
            streams=resources.streams,
            workers=resources.first_workers,
            most_workers=resources.workers,
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
        self._start_s = 0.0
        self._workers = 0
        self._samples = False
        self._cpu_s = 0.0
        self._moved = [0, 0, 0]

    def run(self) -> Forecast:
        first = self._first
        if first is not None:
            self._time.after(first.start_s, self._begin_images)
        while self._begins or self._under_way:
            self._time.step(self._on_ended)
        memory = 0
        if first is not None:
            memory = first.coordinator_memory_bytes + self._workers * first.worker_memory_bytes
        bytes_moved, blobs_moved, mounted = self._moved
        machine_s = self._time.flows.used[MACHINE]
        phases = tuple(summarize_phases(self._time.phases))
        return Forecast(self._time.now, bytes_moved, blobs_moved, mounted, self._cpu_s, machine_s, memory, phases)

    def _on_ended(self, token: _Running | _Step) -> None:
        if isinstance(token, _Step):
            token.then()
        else:
            self._end_job(token)

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
            self._end_image(work)
            return
        if not self._started:
            self._start_workers(self._path(work, work.destinations[0].registry))
        path = self._path(work, work.destinations[0].registry)
        self._coordinate(path.image, work.manifests / 2, lambda: self._read(image))

    def _read(self, image: _Image) -> None:
        needs: list[BlobNeed] = []
        work = image.work
        for destination in work.destinations:
            self._delivery += 1
            number = self._delivery
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
            self._end_image(image.work)

    def _end_image(self, work: WorkImage) -> None:
        self._under_way -= 1
        self._images_ended += max(1, len(work.destinations))
        self._tell(0)
        self._begin_images()

    # Workers

    def _start_workers(self, path: MeasuredPath) -> None:
        self._started = True
        self._cpu_s += path.workers.coordinator_s + path.workers.worker_s
        self._start_s = path.workers_start_s
        self._add_workers()

    def _add_workers(self) -> None:
        """Start the workers that the scheduler wants beside the present ones."""
        for number in range(self._workers, self._scheduler.workers_wanted):
            self._time.after(self._start_s, lambda number=number: self._join(number))  # type: ignore[misc]
        self._workers = self._scheduler.workers_wanted

    def _join(self, number: int) -> None:
        self._carry_out(self._scheduler.join(number))
        if not self._samples:
            self._samples = True
            self._time.after(SAMPLE_S, self._sample)

    def _sample(self) -> None:
        under_way = 0
        for worker in range(self._workers):
            received = {}
            for job in self._scheduler.jobs_of(worker):
                running = self._running.get((worker, job.id))
                if running is not None and running.kind is not None and not job.small:
                    received[job.id] = max(0, round(job.size - self._time.flows.left_of(running.kind, running)))
            self._scheduler.progress(worker, received)
            under_way += sum(received.values())
        self._tell(under_way)
        self._carry_out(self._scheduler.sample(self._time.now))
        if self._under_way:
            self._time.after(max(SAMPLE_S, self._time.now / SAMPLES), self._sample)

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Lease):
                self._begin_job(decision.worker, decision.job)
            elif isinstance(decision, BlobLanded):
                delivery = self._deliveries[decision.delivery]
                delivery.left -= 1
                if not delivery.left:
                    self._publish(decision.delivery)
        if self._started and self._scheduler.workers_wanted > self._workers:
            self._add_workers()

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
        self._time.after(cost.latency_s, lambda: self._move(running, path, cost))

    def _move(self, running: _Running, path: MeasuredPath, cost: Cost) -> None:
        demand = job_demand(running.worker, running.job, running.arrival, path, cost, self._path_of)
        self._cpu_s += demand.cpu_s
        if demand.kind is None:
            self._time.after(0.0, lambda: self._end_job(running))
            return
        if demand.streams:
            running.kind = demand.kind
        self._time.flows.begin(demand.kind, demand.work, running)

    def _end_job(self, running: _Running) -> None:
        worker, job = running.worker, running.job
        del self._running[worker, job.id]
        moved = job.size if running.arrival is Arrival.MOVED else 0
        self._moved[0] += moved * len(job.targets)
        self._moved[1] += len(job.targets) if moved else 0
        self._moved[2] += len(job.targets) if running.arrival is Arrival.MOUNTED else 0
        results = [BlobOutcome(running.arrival, moved) for _ in job.targets]
        self._carry_out(self._scheduler.end(worker, job.id, results, self._time.now))

    # Time

    def _tell(self, bytes_under_way: int) -> None:
        if self._track is not None:
            scheduler = self._scheduler
            landed = scheduler.landed_bytes + bytes_under_way
            self._track(self._time.now, self._images_ended, scheduler.landed_blobs, landed)

    def _coordinate(self, cost: Cost, share: float, then: Callable[[], None]) -> None:
        """What the coordinator does for an image: its own processor time, then what the registries take."""
        demand = coordinator_demand(cost, share)
        self._cpu_s += demand.cpu_s

        def wait() -> None:
            self._time.after(cost.latency_s * min(share, 1.0), then)

        if demand.kind is None:
            wait()
            return
        self._time.flows.begin(demand.kind, demand.work, _Step(wait))

    def _path(self, work: WorkImage, destination: str) -> MeasuredPath:
        return self._path_of(work.source.registry, destination)
