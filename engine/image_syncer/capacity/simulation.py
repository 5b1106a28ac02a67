"""Simulation: how a run would go, in virtual time.

The real `Scheduler` with the real `StreamTuner` gets the blobs of a `Workload` in the order of a run, and its leases
are carried out as flows over processors, paths and links, at the costs of a `MeasuredPath`. So only the time of each
step is computed; what is mounted, shared and tuned cannot differ from a run. Faults, retries and refusals are not
simulated.
"""

from __future__ import annotations

import heapq
import math
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct, field

from image_syncer.capacity.forecast import (
    COORDINATOR,
    MACHINE,
    WAITING,
    Forecast,
    Host,
    Phase,
    bottleneck_of,
    summarize_phases,
)
from image_syncer.scheduling.blob_set import BlobNeed
from image_syncer.scheduling.job import Arrival, BlobLanded, BlobOutcome, Lease
from image_syncer.scheduling.retry import ONCE
from image_syncer.scheduling.scheduler import Scheduler
from image_syncer.scheduling.stream_tuner import StreamTuner
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from image_syncer.capacity.forecast import Track, WorkImage, Workload
    from image_syncer.capacity.measured import Cost, MeasuredPath
    from image_syncer.scheduling.job import Decision, Job
    from image_syncer.scheduling.resources import Resources


_Token = TypeVar("_Token")

FULL = 1e-9
"""Relative: so little that is left of a resource counts as nothing."""
LINK_IN, LINK_OUT = "link in", "link out"
IMAGES_UNDER_WAY = 256
"""As in `coordinator.rules`."""
SAMPLES = 1000
"""Samples of the time so far: a run of a year takes some thousands, not a hundred million."""
SAMPLE_S = 0.5
"""How often the scheduler gets the progress of transfers, and tunes streams."""


class FlowKind(Value, frozen=True):
    """Flows that are alike: `demands` is what one unit of work takes of each resource, by name; `most` limits the rate
    of one flow (units per second), and rates grow in proportion to `weight`.
    """

    name: tuple[str, ...]
    demands: Mapping[str, float]
    weight: float = 1.0
    most: float = math.inf

    def __hash__(self) -> int:
        return hash(self.name)


class _Group(Struct, Generic[_Token], eq=False):
    """The flows of one kind: a flow ends when `served` has grown by its work since it began."""

    kind: FlowKind
    served: float = 0.0
    rate: float = 0.0
    ends: list[tuple[float, int, _Token]] = field(default_factory=list)

    def next_in(self) -> float:
        if not self.ends:
            return math.inf
        left = self.ends[0][0] - self.served
        if left <= 0:
            return 0.0
        return left / self.rate if self.rate > 0 else math.inf


class Flows(Generic[_Token]):
    """Flows over resources with `capacities` (units per second, by name; a resource without a capacity has no limit).

    A flow is a piece of work that takes a fixed amount of each of its resources per unit. Rates are max-min fair: they
    grow together, in proportion to their weights, until a resource is full or a flow has reached its own limit; the
    others grow on (progressive filling; Bertsekas and Gallager, "Data Networks", section 6.5.2). An event costs the
    number of kinds, not of flows, and no rate changes where one flow follows another of its kind.
    """

    def __init__(self, capacities: Mapping[str, float]) -> None:
        self._capacities = dict(capacities)
        self._groups: dict[tuple[str, ...], _Group[_Token]] = {}
        self._counts: dict[tuple[str, ...], int] = {}
        """The numbers of flows for which the rates were computed."""
        self._now = 0.0
        self._number = 0
        self.full: tuple[str, ...] = ()
        """The resources that are used up now: the bottlenecks."""
        self.used: dict[str, float] = dict.fromkeys(capacities, 0.0)
        """How much of each resource was used so far."""

    def begin(self, kind: FlowKind, work: float, token: _Token) -> None:
        """Begin a flow of `work` units; `token` is returned when it has ended."""
        group = self._groups.get(kind.name)
        if group is None:
            group = self._groups[kind.name] = _Group(kind)
        self._number += 1
        heapq.heappush(group.ends, (group.served + work, self._number, token))

    def __len__(self) -> int:
        return sum(len(group.ends) for group in self._groups.values())

    def left_of(self, kind: FlowKind, token: _Token) -> float:
        """The units left of one flow, found by its token; slow."""
        group = self._groups[kind.name]
        return next((end - group.served for end, _, one in group.ends if one is token), 0.0)

    def next_at(self) -> float:
        """When the next flow ends; infinity where none does."""
        self._settle()
        left_s = min((group.next_in() for group in self._groups.values()), default=math.inf)
        # After years, what is left may be less than the resolution of the clock: time passes all the same.
        return max(self._now + left_s, math.nextafter(self._now, math.inf)) if left_s > 0 else self._now

    def advance(self, now: float) -> list[_Token]:
        """Let time pass until `now`, at most `next_at`; return the flows that have ended."""
        self._settle()
        elapsed, self._now = now - self._now, now
        ended: list[_Token] = []
        for group in self._groups.values():
            if not group.ends:
                continue
            if elapsed > 0 and group.rate > 0:
                group.served += group.rate * elapsed
                work = group.rate * elapsed * len(group.ends)
                for name, demand in group.kind.demands.items():
                    if name in self.used:
                        self.used[name] += work * demand
            within = FULL * max(1.0, group.served)
            while group.ends and group.ends[0][0] <= group.served + within:
                ended.append(heapq.heappop(group.ends)[2])
            if not group.ends:
                group.served = 0.0  # small numbers are exact
        return ended

    def _settle(self) -> None:
        """Compute the rates, where the numbers of flows have changed."""
        counts = {name: len(group.ends) for name, group in self._groups.items() if group.ends}
        if counts == self._counts:
            return
        self._counts = counts
        growing = {name: self._groups[name].kind for name in counts}
        left = dict(self._capacities)
        levels = dict.fromkeys(growing, 0.0)
        full: list[str] = []
        level = 0.0
        while growing:
            pull: dict[str, float] = {}
            for name, kind in growing.items():
                for resource, demand in kind.demands.items():
                    if resource in left:
                        pull[resource] = pull.get(resource, 0.0) + demand * kind.weight * counts[name]
            until_full = min((left[one] / each for one, each in pull.items() if each > 0), default=math.inf)
            until_bound = min(kind.most / kind.weight for kind in growing.values()) - level
            step = min(until_full, until_bound)
            if math.isinf(step):
                raise ValueError(f"nothing bounds the flows {sorted(growing)}")
            level += step
            for resource, each in pull.items():
                left[resource] -= each * step
            used_up = {one for one in pull if left[one] <= FULL * self._capacities[one]}
            full += sorted(used_up)
            for name, kind in list(growing.items()):
                levels[name] = level
                if level >= (1 - FULL) * kind.most / kind.weight or used_up.intersection(kind.demands):
                    del growing[name]
        for name, each in levels.items():
            group = self._groups[name]
            group.rate = each * group.kind.weight
        self.full = tuple(dict.fromkeys(full))


class VirtualTime(Generic[_Token]):
    """Time over resources with `capacities`, see `Flows`: from one event to the next, a flow that ends or a timer. It
    begins with 0, in seconds.
    """

    def __init__(self, capacities: Mapping[str, float]) -> None:
        self.now = 0.0
        self.flows: Flows[_Token] = Flows(capacities)
        self.phases: list[Phase] = []
        """The bottlenecks so far, from when until when."""
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timers_set = 0

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after a time; timers of one moment go off in the order in which they were set."""
        self._timers_set += 1
        heapq.heappush(self._timers, (self.now + seconds, self._timers_set, then))

    def step(self, on_ended: Callable[[_Token], None]) -> None:
        """Go to the next event: call `on_ended` for each flow that has ended, then the timers. Raises ValueError where
        there is no event.
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


class Demand(Value, frozen=True):
    """`work` units of `kind` (None: nothing), for which the processors of the run take `cpu_s` seconds. Units are bytes
    of a stream, and otherwise seconds of the processor that does it.
    """

    cpu_s: float
    work: float = 0.0
    kind: FlowKind | None = None


def capacities_of(host: Host, workers: int, paths: Mapping[tuple[str, str], MeasuredPath]) -> dict[str, float]:
    """The capacity of each resource, per second; `paths` by source and destination."""
    capacities = {MACHINE: host.cores, COORDINATOR: 1.0}
    capacities.update({_worker(number): 1.0 for number in range(workers)})
    for (source, destination), path in paths.items():
        if path.limits.path_bytes_per_s is not None:
            capacities[_path(source, destination)] = path.limits.path_bytes_per_s
    if host.link_bytes_per_s is not None:
        capacities.update({LINK_IN: host.link_bytes_per_s, LINK_OUT: host.link_bytes_per_s})
    return capacities


def coordinator_demand(cost: Cost, share: float) -> Demand:
    """The part `share` of a cost of the coordinator."""
    own_s = cost.coordinator_s * share
    if own_s <= 0:
        return Demand(own_s)
    machine = cost.machine_s / cost.coordinator_s
    return Demand(own_s, own_s, FlowKind((COORDINATOR, f"{machine:.6f}"), {COORDINATOR: 1.0, MACHINE: machine}))


def job_demand(
    worker: int,
    job: Job,
    arrival: Arrival,
    path: MeasuredPath,
    cost: Cost,
    path_of: Callable[[str, str], MeasuredPath],
) -> Demand:
    """The demand of `job` in `worker`, over `path`: `cost` beside its bytes, and its bytes where they move.
    `path_of(source, destination)` gives the paths to its other destinations.
    """
    byte = path.byte * path.copies(len(job.targets))
    size = job.size if arrival is Arrival.MOVED else 0
    whole = cost + byte * size
    if size and not job.small:
        # The cost of a stream beside its bytes, in bytes.
        work = max(1.0, whole.worker_s / byte.worker_s if byte.worker_s > 0 else size)
        weight = 1 / path.byte.worker_s if path.byte.worker_s else 1.0
        return Demand(whole.cpu_s, work, _stream_kind(worker, job, byte, weight, path_of))
    if whole.worker_s <= 0:
        return Demand(whole.cpu_s)
    demands = {
        _worker(worker): 1.0,
        COORDINATOR: whole.coordinator_s / whole.worker_s,
        MACHINE: whole.machine_s / whole.worker_s,
    }
    coarse = f"{math.log2(1 + size):.0f}"
    name = (arrival.value, job.source.registry, str(worker), coarse)
    return Demand(whole.cpu_s, whole.worker_s, FlowKind(name, demands))


def _stream_kind(
    worker: int, job: Job, byte: Cost, weight: float, path_of: Callable[[str, str], MeasuredPath]
) -> FlowKind:
    """`byte` is the cost of one byte to all destinations of `job`."""
    source = job.source.registry
    registries = sorted(target.repository.registry for target in job.targets)
    demands = {
        _worker(worker): byte.worker_s,
        COORDINATOR: byte.coordinator_s,
        MACHINE: byte.machine_s,
        LINK_IN: 1.0,
        LINK_OUT: float(len(registries)),
    }
    demands.update({_path(source, registry): 1.0 for registry in registries})
    limits = [path_of(source, registry).limits.stream_bytes_per_s for registry in registries]
    most = min((each for each in limits if each is not None), default=math.inf)
    return FlowKind(("stream", str(worker), source, *registries), demands, weight, most)


def _worker(number: int) -> str:
    return f"worker {number}"


def _path(source: str, destination: str) -> str:
    return f"{source} → {destination}"


class _Image(Struct, eq=False):
    """An image under way, and the number of its destinations that still lack it."""

    work: WorkImage
    open: int = 0


class _Delivery(Struct, eq=False):
    image: _Image
    path: MeasuredPath
    left: int


class _Running(Struct, eq=False):
    """A job in a worker; `stream` is the kind of its flow while its bytes are streamed."""

    worker: int
    job: Job
    arrival: Arrival
    stream: FlowKind | None = None


def simulate(
    workload: Workload,
    path_of: Callable[[str, str], MeasuredPath],
    resources: Resources,
    host: Host,
    track: Track | None = None,
) -> Forecast:
    """How a run of `workload` with `resources` would go on `host`; `path_of(source, destination)` gives the path
    between two registries. `track` is called about twice per second of the run. Raises ValueError where nothing that
    was measured bounds it.
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
        self._images: Iterator[WorkImage] = iter(workload.images)
        sources, destinations = workload.registries
        self._paths = {(one, other): path_of(one, other) for one in sources for other in destinations or {""}}
        self._first = next(iter(self._paths.values()), None)
        capacities = capacities_of(host, resources.workers, self._paths)
        self._time: VirtualTime[_Running | Callable[[], None]] = VirtualTime(capacities)
        self._delivery = 0
        self._scheduler = Scheduler(resources.lease_limits, ONCE, lambda: 0.5, tuner=StreamTuner(resources.streams))
        self._deliveries: dict[int, _Delivery] = {}
        self._running: dict[tuple[int, int], _Running] = {}
        self._under_way = 0
        self._begins = bool(workload.images)
        self._start_s: float | None = None
        self._workers = 0
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

    def _on_ended(self, token: _Running | Callable[[], None]) -> None:
        if isinstance(token, _Running):
            self._end_job(token)
        else:
            token()

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
            self._coordinate(path.tag, work.tags, partial(self._looked, image))

    def _looked(self, image: _Image) -> None:
        work = image.work
        if not work.destinations:
            self._end_image(work)
            return
        path = self._path(work, work.destinations[0].registry)
        if self._start_s is None:
            self._cpu_s += path.workers.cpu_s
            self._start_s = path.workers_start_s
            self._add_workers(self._start_s)
        self._coordinate(path.image, work.manifests / 2, lambda: self._read(image))

    def _read(self, image: _Image) -> None:
        needs: list[BlobNeed] = []
        work = image.work
        blobs = list(dict.fromkeys(work.blobs))
        for destination in work.destinations:
            self._delivery = number = self._delivery + 1
            self._deliveries[number] = _Delivery(image, self._path(work, destination.registry), len(blobs))
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

    def _add_workers(self, start_s: float) -> None:
        """Start the workers that the scheduler wants beside the present ones."""
        for number in range(self._workers, self._scheduler.workers_wanted):
            self._time.after(start_s, partial(self._join, number))
        self._workers = self._scheduler.workers_wanted

    def _join(self, number: int) -> None:
        self._carry_out(self._scheduler.join(number))
        if number == 0:
            self._time.after(SAMPLE_S, self._sample)

    def _sample(self) -> None:
        under_way = 0
        for worker in range(self._workers):
            received = {}
            for job in self._scheduler.jobs_of(worker):
                running = self._running.get((worker, job.id))
                if running is not None and running.stream is not None:
                    received[job.id] = max(0, round(job.size - self._time.flows.left_of(running.stream, running)))
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
        if self._start_s is not None and self._scheduler.workers_wanted > self._workers:
            self._add_workers(self._start_s)

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
        if running.arrival is Arrival.MOVED and running.job.size and not running.job.small:
            running.stream = demand.kind
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
            done = self._scheduler.stats()
            self._track(self._time.now, self._images_ended, done.landed_blobs, done.landed_bytes + bytes_under_way)

    def _coordinate(self, cost: Cost, share: float, then: Callable[[], None]) -> None:
        """Work of the coordinator for an image: its processor time, then the latency of registries."""
        demand = coordinator_demand(cost, share)
        self._cpu_s += demand.cpu_s

        def wait() -> None:
            self._time.after(cost.latency_s * min(share, 1.0), then)

        if demand.kind is None:
            wait()
            return
        self._time.flows.begin(demand.kind, demand.work, wait)

    def _path(self, work: WorkImage, destination: str) -> MeasuredPath:
        return self._path_of(work.source.registry, destination)
