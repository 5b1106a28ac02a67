"""The scheduler: decides which worker moves which blob, and when. Events in, decisions out.

It knows workers, jobs and time as plain values: no process, no socket, no clock. Every call returns the decisions that
follow from it, and the coordinator carries them out. A *job* is one blob from one source to one or more destination
registries; the worker that holds it has a *lease*, which ends with an outcome for each target or with the loss of the
worker. Waiting jobs (`job_queue.py`) are leased to the worker with the fewest bytes left. *Small* jobs have slots of
their own beside *streamed* ones, so that neither kind waits for the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.errors import Origin, SyncError
from image_syncer.scheduling.blob_set import BlobNeed, BlobSet, Quarantine
from image_syncer.scheduling.breaker import Breakers
from image_syncer.scheduling.connections import ConnectionLimits, is_broken_connection, is_refusal, share_of
from image_syncer.scheduling.job import Arrival, BlobFailed, BlobLanded, BlobOutcome, Decision, Job, Lease
from image_syncer.scheduling.job_queue import JobQueue
from image_syncer.scheduling.retry_queue import RetryQueue
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.scheduling.blob_set import BlobTarget, Way, WayCount
    from image_syncer.scheduling.retry import RetryPolicy
    from image_syncer.scheduling.stream_tuner import StreamTuner


WORTH_A_WORKER_S = 0.1
"""Work of one worker that is worth another process, which takes some 10 ms to start and as much to end."""
BYTES_PER_S = 500e6
"""About what one worker moves where nothing else limits it."""
SMALL_JOB_S = 0.0005
"""About what a small job costs one worker beside its bytes."""


class WorkerLeases(Struct, eq=False):
    """A worker and its jobs, by id; `held` counts the streamed and the small ones. A `closed` worker holds a job that
    must be alone, and gets no other.
    """

    number: int
    jobs: dict[int, Job] = field(default_factory=dict)
    bytes_left: int = 0
    held: list[int] = field(default_factory=lambda: [0, 0])
    closed: bool = False


class Slots:
    """The slots of all workers, for streamed jobs (index 0 of a pair) and for small ones (index 1), and the connections
    that their jobs hold. `proc` limits the jobs of all workers together (None: no limit).

    The next job goes to the worker with the fewest bytes left to move. A worker that has more left than its part of all
    known bytes gets no further stream: its giant needs the core, and would end last.
    """

    def __init__(self, proc: int | None = None) -> None:
        self._proc = proc
        self.most: int | None = None
        """Jobs that all workers may hold now; None: as many as they have slots."""
        self.shares = (0, 0)
        """The parts of either kind of `most` while jobs of both wait."""
        self.narrow(None)
        self.workers: dict[int, WorkerLeases] = {}
        self.held = [0, 0]
        """Jobs that all workers hold together, and the bytes that they still have to move."""
        self.bytes_left = 0
        self.bounds = (0, 0)
        """Jobs of either kind that a worker may hold."""
        self._free: tuple[set[WorkerLeases], set[WorkerLeases]] = (set(), set())

    def join(self, number: int) -> None:
        """Add a worker."""
        worker = self.workers[number] = WorkerLeases(number)
        self._see(worker)

    def leave(self, number: int) -> list[Job]:
        """Remove a worker; return the jobs that it held."""
        worker = self.workers.pop(number, None)
        if worker is None:
            return []
        jobs = list(worker.jobs.values())
        for job in jobs:
            self.close(worker, job)
        for free in self._free:
            free.discard(worker)
        return jobs

    def open(self, worker: WorkerLeases, job: Job) -> None:
        """Give `job` to `worker`, with the connections that it needs."""
        kind, left = job.small, job.weight
        worker.jobs[job.id] = job
        worker.bytes_left += left
        self.bytes_left += left
        worker.held[kind] += 1
        self.held[kind] += 1
        if job.lane is not None:
            for host, needed in job.lane.hosts:
                host.held[kind] += needed
        if job.alone:
            worker.closed = True
            self._see(worker)
        elif worker.held[kind] >= self.bounds[kind]:
            self._free[kind].discard(worker)

    def close(self, worker: WorkerLeases, job: Job) -> None:
        """Take `job`, which has ended, from `worker`, with its connections."""
        kind, left = job.small, job.left
        del worker.jobs[job.id]
        worker.bytes_left -= left
        self.bytes_left -= left
        worker.held[kind] -= 1
        self.held[kind] -= 1
        if job.lane is not None:
            for host, needed in job.lane.hosts:
                host.held[kind] -= needed
        if job.alone:
            worker.closed = False
            self._see(worker)
        elif worker.held[kind] < self.bounds[kind]:
            self._free[kind].add(worker)

    def note_progress(self, worker: WorkerLeases, job: Job, received: int) -> int:
        """Note that `received` bytes of `job` have come; return how many more than before."""
        left, more = job.left, received - job.received
        job.received = received
        change = job.left - left
        worker.bytes_left += change
        self.bytes_left += change
        return max(0, more)

    def bind(self, streamed: int, small: int) -> None:
        """Let each worker hold so many jobs of either kind."""
        self.bounds = (streamed, small)
        for worker in self.workers.values():
            self._see(worker)

    def narrow(self, most: int | None) -> None:
        """Let all workers hold `most` jobs together, within `proc`; None: as many as that allows."""
        bounds = [bound for bound in (most, self._proc) if bound is not None]
        self.most = min(bounds) if bounds else None
        if self.most is not None:
            self.shares = share_of(self.most, small=False), share_of(self.most, small=True)

    @property
    def is_full(self) -> bool:
        """Whether all workers together hold as many jobs as they may."""
        return self.most is not None and sum(self.held) >= self.most

    def lacks_streams(self) -> bool:
        """Return whether more workers could hold more streamed jobs."""
        return not self._free[0] and not self.is_full

    def freest(self, *, small: bool = False, waiting_bytes: int = 0) -> WorkerLeases | None:
        """The worker that should get the next job of that kind; None where none should. `waiting_bytes` are those of
        streamed jobs that wait.
        """
        best: WorkerLeases | None = None
        for worker in self._free[small]:
            if best is None or worker.bytes_left < best.bytes_left:
                best = worker
            elif worker.bytes_left == best.bytes_left:
                more = len(worker.jobs) - len(best.jobs)
                if more < 0 or (more == 0 and worker.number < best.number):
                    best = worker
        # A worker with less left than the best is busy, so some job will end and bring the next lease.
        if small or best is None or best.bytes_left * len(self.workers) <= self.bytes_left + waiting_bytes:
            return best
        return None

    def _see(self, worker: WorkerLeases) -> None:
        """Note whether `worker` has free slots."""
        for kind, free in enumerate(self._free):
            if worker.held[kind] < self.bounds[kind] and not worker.closed:
                free.add(worker)
            else:
                free.discard(worker)


class LeaseLimits(Value, frozen=True):
    """How many jobs workers may hold: `streams` streamed and `small_streams` small ones each, `proc` of all together
    (None: no limit). Mounts, and blobs of at most `small_bytes`, are small jobs.

    There are `workers` at first. Until all of them have joined, no worker gets more than its part, so that the first to
    be ready does not take everything. More are wanted while there is work for them, up to `most_workers` (None: never).
    """

    streams: int
    workers: int = 1
    most_workers: int | None = None
    small_streams: int = 0
    small_bytes: int = 0
    proc: int | None = None


class SchedulerStats(Value, frozen=True):
    """The state of a scheduler at one moment, for displays, reports and time estimates.

    Blobs count once for each repository that wants them; those that landed have arrived or were given up. `held` has
    the streamed and the small jobs of each worker, `connections` what each registry allows (None: no limit). `streams`
    is how many streamed jobs a worker may hold now, `most_streams` at most. `ways` is the work by source and
    destination registry.
    """

    wanted_blobs: int
    wanted_bytes: int
    landed_blobs: int
    landed_bytes: int
    in_flight: int
    held: Mapping[int, tuple[int, int]]
    waiting_deliveries: int
    largest_waiting_bytes: int
    connections: Mapping[str, int | None]
    streams: int
    most_streams: int
    small_bytes: int
    ways: Mapping[Way, WayCount]


class Scheduler:
    """See the top of the module.

    `chance` gives a uniform number in [0, 1) for each pause. `connections` limits those to each registry. `tuner` may
    allow fewer streams than `limits` (None: always all). Nothing is leased from or to a registry whose breaker in
    `breakers` is open.
    """

    def __init__(
        self,
        limits: LeaseLimits,
        retry: RetryPolicy,
        chance: Callable[[], float],
        *,
        connections: ConnectionLimits | None = None,
        tuner: StreamTuner | None = None,
        blobs: BlobSet | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        small_bytes = limits.small_bytes if limits.small_streams else None
        self._limits = limits
        self._blobs = BlobSet() if blobs is None else blobs
        self._work = self._blobs.work
        self._work.small_bytes = small_bytes
        self.quarantine = Quarantine()
        self.connections = ConnectionLimits() if connections is None else connections
        self._queue = JobQueue(self.connections, small_bytes=small_bytes)
        self._slots = Slots(limits.proc)
        self._breakers = Breakers() if breakers is None else breakers
        self._breakers.listen(self._queue.on_breaker)
        self._retries = RetryQueue(retry, chance, self._breakers)
        self._tuner = tuner
        self._awaited: dict[int, int] = {}
        """How many blobs each delivery waits for; one that was dropped, or has all, is not in here."""
        self.workers_wanted = limits.workers
        """How many workers there should be now; it only grows."""
        self._most_workers = limits.most_workers or limits.workers
        self._most_streams = limits.streams
        self._held = self._stopped = False
        self._moved_bytes = self._sampled_bytes = 0

    @property
    def wake_at(self) -> float | None:
        """When `tick` should be called next, in the time of the caller's clock; None: nothing waits for time."""
        return self._retries.wake_at

    @property
    def _streams(self) -> int:
        return self._most_streams if self._tuner is None else min(self._most_streams, self._tuner.allowed)

    def stats(self) -> SchedulerStats:
        """The state now."""
        work, slots = self._work, self._slots
        return SchedulerStats(
            wanted_blobs=work.wanted_blobs,
            wanted_bytes=work.wanted_bytes,
            landed_blobs=work.landed_blobs,
            landed_bytes=work.landed_bytes,
            in_flight=slots.held[0] + slots.held[1],
            held={number: (worker.held[0], worker.held[1]) for number, worker in slots.workers.items()},
            waiting_deliveries=len(self._awaited),
            largest_waiting_bytes=self._queue.largest_streamed,
            connections=self.connections.allowed(),
            streams=self._streams,
            most_streams=self._most_streams,
            small_bytes=work.small_bytes or 0,
            ways=work.ways,
        )

    def jobs_of(self, worker: int) -> list[Job]:
        """The jobs that `worker` holds."""
        return list(held.jobs.values()) if (held := self._slots.workers.get(worker)) else []

    def expects(self, delivery: int) -> bool:
        """Return whether `delivery` still waits for a blob."""
        return delivery in self._awaited

    # Orders

    def narrow(self, most: int | None) -> None:
        """Let `most` jobs be in flight, within the limits; None: as many as these allow."""
        self._slots.narrow(most)

    def hold(self, *, held: bool) -> list[Decision]:
        """While `held`, lease nothing; jobs under way continue."""
        self._held = held
        return self._lease([])

    def bind_streams(self, most: int, now: float) -> list[Decision]:
        """Let a worker stream `most` jobs, but no more than its limit at the start."""
        self._most_streams = max(1, min(most, self._limits.streams))
        if self._tuner is not None:
            self._tuner.bind(self._most_streams, now)
        return self._lease([])

    def stop(self) -> None:
        """Lease nothing more."""
        self._stopped = True

    # Events

    def want(self, needs: list[BlobNeed]) -> list[Decision]:
        """An image was planned, and needs these blobs."""
        decisions: list[Decision] = []
        for need in needs:
            if self._blobs.has(need.target, need.digest):
                decisions.append(BlobLanded(need.delivery, need.digest, Arrival.PRESENT, 0, 1))
                continue
            if self.quarantine.blobs and (fatal := self.quarantine.find(need.source, need.digest)) is not None:
                decisions.append(BlobFailed(need.delivery, need.digest, fatal))
                continue
            self._awaited[need.delivery] = self._awaited.get(need.delivery, 0) + 1
            target = self._blobs.join(need)
            if target is not None:
                self._queue.add(target)
        return self._lease(decisions)

    def drop(self, delivery: int) -> None:
        """`delivery` waits for nothing more; blobs that only it wanted need not be moved."""
        self._awaited.pop(delivery, None)

    def join(self, worker: int) -> list[Decision]:
        """A worker is ready."""
        self._slots.join(worker)
        return self._lease([])

    def lose(self, worker: int, error: SyncError) -> list[Decision]:
        """A worker is lost: its jobs are leased again, or given up where several workers were lost with them."""
        decisions: list[Decision] = []
        for job in self._slots.leave(worker):
            for target in [one for position, one in enumerate(job.targets) if position not in job.settled]:
                fatal = self.quarantine.lost(target, job.received, error)
                if fatal is None:
                    self._queue.add(target)
                else:
                    decisions += self._give_up(target, fatal, source_failed=True)
        return self._lease(decisions)

    def split(self, worker: int, job_id: int, behind: tuple[int, ...]) -> list[Decision]:
        """These targets of a job, by position, are too slow for its others: they get a job of their own at once. Their
        outcomes in the first job are ignored.
        """
        held = self._slots.workers.get(worker)
        job = held.jobs.get(job_id) if held else None
        if job is None:
            return []
        behind = tuple(position for position in behind if position not in job.settled)
        job.settled += behind
        for position in behind:
            job.targets[position].split = True
            self._queue.add(job.targets[position])
        return self._lease([])

    def progress(self, worker: int, received: Mapping[int, int]) -> None:
        """So many bytes have come of the jobs, by id, that `worker` holds."""
        held = self._slots.workers.get(worker)
        if held is None:
            return
        for job_id, bytes_done in received.items():
            if (job := held.jobs.get(job_id)) is not None:
                self._moved_bytes += self._slots.note_progress(held, job, bytes_done)

    def sample(self, now: float) -> list[Decision]:
        """About half a second has passed: decide from the bytes moved since how many streams pay. Call `progress`
        first.
        """
        moved, self._sampled_bytes = self._moved_bytes - self._sampled_bytes, self._moved_bytes
        self.connections.recover(now)
        if self._tuner is not None:
            most_held = max((held.held[0] for held in self._slots.workers.values()), default=0)
            # Where a worker is free, something other than streams limits the queue.
            queue = self._queue
            waiting = queue.streamed > 0 and self._slots.freest(waiting_bytes=queue.streamed_bytes) is None
            self._tuner.sample(now, moved, most_held, waiting=waiting)
        return self._lease([])

    def end(self, worker: int, job_id: int, results: list[BlobOutcome], now: float) -> list[Decision]:
        """A worker has finished a job; `results` are in the order of its targets. A job that it no longer holds is
        ignored.
        """
        held = self._slots.workers.get(worker)
        job = held.jobs.get(job_id) if held else None
        decisions: list[Decision] = []
        if held is not None and job is not None:
            self._slots.close(held, job)
            for position, result in enumerate(results):
                if position not in job.settled:
                    self._end_target(job, position, result, now, decisions)
            if self.connections.refusing:
                self.connections.recover(now)
        return self._lease(decisions)

    def end_target(self, worker: int, job_id: int, position: int, result: BlobOutcome, now: float) -> list[Decision]:
        """One target of a job has ended before the others. Its outcome at the end of the job is ignored."""
        held = self._slots.workers.get(worker)
        job = held.jobs.get(job_id) if held else None
        decisions: list[Decision] = []
        if job is not None and position not in job.settled:
            self._end_target(job, position, result, now, decisions)
        return self._lease(decisions)

    def tick(self, now: float) -> list[Decision]:
        """Time has passed: retries that are due are queued."""
        for target in self._retries.take_due(now):
            self._queue.add(target)
        self.connections.recover(now)
        return self._lease([])

    # Outcomes

    def _end_target(self, job: Job, position: int, result: BlobOutcome, now: float, decisions: list[Decision]) -> None:
        """One target of `job` has an outcome: add to `decisions` what follows for the deliveries that wait for it."""
        target, arrival, bytes_moved = job.targets[position], result.arrival, result.bytes_moved
        if arrival is None:
            self._end_in_vain(job, position, result.error, now, decisions)
            return
        job.settled += (position,)
        if bytes_moved > job.received:
            self._moved_bytes += bytes_moved - job.received
            job.received = bytes_moved  # it came once, for all targets
        breakers, source, destination = self._breakers, job.source.registry, target.repository.registry
        if destination not in breakers.healthy:
            breakers.answered(destination, now)
        if bytes_moved and source not in breakers.healthy:
            breakers.answered(source, now)
        if target.mounts and arrival is not Arrival.PRESENT:
            self._queue.learn_mount(destination, mounted=arrival is Arrival.MOUNTED)
        patience = self._retries.patience
        if patience.since and arrival is Arrival.MOVED:
            patience.moved(source, destination)
        served, released = self._blobs.landed(target)
        for other in released:
            self._queue.add(other)
        digest, tries = target.digest, 1 + (target.tries.made if target.tries else 0)
        for one in (target, *served):
            for delivery in self._settle(one):
                decisions.append(BlobLanded(delivery, digest, arrival, bytes_moved, tries))
                arrival, bytes_moved = Arrival.PRESENT, 0

    def _end_in_vain(
        self, job: Job, position: int, error: SyncError | None, now: float, decisions: list[Decision]
    ) -> None:
        """One target of `job` has failed: it is tried again, or given up."""
        target = job.targets[position]
        if error is None:
            raise RuntimeError(f"job {job.id} ended without an outcome for {target.repository}")
        at_source = error.origin is Origin.SOURCE
        registry = (job.source if at_source else target.repository).registry
        # A failure of the source is one refusal, however many targets it ends.
        if not (at_source and job.settled):
            self._note_refusal(registry, error, now)
        job.settled += (position,)
        if self._awaited.keys().isdisjoint(target.deliveries):
            self._abandon(target)
        elif (last := self._retries.put(target, registry, error, now)) is not None:
            error = self._breakers.reason_of(registry, last)
            decisions += self._give_up(target, error, source_failed=error.origin is Origin.SOURCE)

    def _note_refusal(self, registry: str, error: SyncError, now: float) -> None:
        """Ask `registry` for less, or for nothing, where `error` says so."""
        self._breakers.failed(registry, error, now)
        broken = is_broken_connection(error)
        if (broken or is_refusal(error)) and self.connections.refused(registry, now, broken=broken) and self._tuner:
            self._tuner.refused(now)

    def _give_up(self, target: BlobTarget, error: SyncError, *, source_failed: bool) -> list[Decision]:
        """`target` fails for good; with `source_failed`, so do those that wait for the same from that source."""
        fallen, released = self._blobs.failed(target, source_failed=source_failed)
        for other in released:
            self._queue.add(other)
        deliveries = [delivery for one in (target, *fallen) for delivery in self._settle(one)]
        return [BlobFailed(delivery, target.digest, error) for delivery in deliveries]

    def _give_up_registries(self, decisions: list[Decision]) -> None:
        """Fail what waits for a registry that was given up, and what used up its tries at one that was not down."""
        retries = self._retries
        while retries.failed:
            target, error = retries.failed.pop()
            decisions += self._give_up(target, error, source_failed=error.origin is Origin.SOURCE)
        for registry in retries.given_up:
            while targets := [*self._queue.take(registry), *retries.take(registry)]:
                for target in targets:
                    is_source = target.source.registry == registry
                    origin = Origin.SOURCE if is_source else Origin.DESTINATION
                    down = self._breakers.of(registry).down_error(origin)
                    decisions += self._give_up(target, down, source_failed=is_source)

    def _abandon(self, target: BlobTarget) -> None:
        """No delivery waits for `target`; those behind it are not affected."""
        self._give_up(target, SyncError("no longer needed"), source_failed=False)

    def _settle(self, target: BlobTarget) -> list[int]:
        """`target` has an outcome; return the deliveries that wait for it, in the order they came."""
        awaited = self._awaited
        waiting = [delivery for delivery in target.deliveries if delivery in awaited]
        for delivery in waiting:
            awaited[delivery] -= 1
            if not awaited[delivery]:
                del awaited[delivery]
        return waiting

    # Leases

    def _lease(self, decisions: list[Decision]) -> list[Decision]:
        """Add the leases that are possible now to `decisions`, and return these."""
        if self._retries.given_up or self._retries.failed:
            self._give_up_registries(decisions)
        if self.workers_wanted < self._most_workers:
            self._want_more_workers()
        queue, slots, seen = self._queue, self._slots, -1
        # A job that no delivery waits for may have held others back, which are queued meanwhile.
        while (queue.small or queue.streamed or queue.alone) and queue.made != seen:
            if self._stopped or self._held:
                break
            seen = queue.made
            streams, small = self._streams, self._limits.small_streams
            if len(slots.workers) < self.workers_wanted:
                streams = min(streams, -(-(slots.held[0] + queue.streamed) // self.workers_wanted))
                small = min(small, -(-(slots.held[1] + queue.small) // self.workers_wanted))
            if (streams, small) != slots.bounds:
                slots.bind(streams, small)
            if queue.alone:
                self._lease_alone(decisions)
            if self.connections.limited or slots.most is not None:
                self._lease_kind(decisions, small=False, fair=True)
                self._lease_kind(decisions, small=True, fair=True)
            if queue.streamed:
                self._lease_kind(decisions, small=False)
            if queue.small:
                self._lease_kind(decisions, small=True)
        return decisions

    def _want_more_workers(self) -> None:
        """Want as many workers as the work is worth."""
        slots, queue = self._slots, self._queue
        work_s = (slots.bytes_left + queue.streamed_bytes) / BYTES_PER_S
        work_s += (slots.held[1] + queue.small) * SMALL_JOB_S
        wanted = math.ceil(work_s / WORTH_A_WORKER_S)
        if queue.streamed and len(slots.workers) >= self.workers_wanted and slots.lacks_streams():
            wanted = max(wanted, self.workers_wanted + 1)
        self.workers_wanted = max(self.workers_wanted, min(wanted, self._most_workers))

    def _lease_kind(self, decisions: list[Decision], *, small: bool, fair: bool = False) -> None:
        """Lease jobs of one kind; with `fair`, within the share of that kind."""
        queue, slots = self._queue, self._slots
        while queue.small if small else queue.streamed:
            if slots.most is not None and (slots.is_full or (fair and slots.held[small] >= slots.shares[small])):
                return
            worker = slots.freest(small=small, waiting_bytes=queue.streamed_bytes)
            job = queue.pop(small=small, fair=fair) if worker is not None else None
            if worker is None or job is None:
                return
            self._offer(job, worker, decisions)

    def _lease_alone(self, decisions: list[Decision]) -> None:
        for worker in list(self._slots.workers.values()):
            while not worker.jobs and not self._slots.is_full:
                job = self._queue.pop_alone()
                if job is None:
                    return
                self._offer(job, worker, decisions)

    def _offer(self, job: Job, worker: WorkerLeases, decisions: list[Decision]) -> None:
        """Lease `job` to `worker`, where deliveries still wait for it and it is not in quarantine."""
        awaited = self._awaited.keys()
        for target in tuple(job.targets):
            if awaited.isdisjoint(target.deliveries):
                job.targets.remove(target)
                self._abandon(target)
                if not job.targets:
                    return
                job.lane = self._queue.lane_of(job.registries)
        if self.quarantine.blobs and (fatal := self.quarantine.find(job.source, job.digest)) is not None:
            for target in job.targets:
                decisions += self._give_up(target, fatal, source_failed=True)
            return
        self._slots.open(worker, job)
        decisions.append(Lease(worker.number, job))

    def __repr__(self) -> str:
        return (
            f"<Scheduler {len(self._slots.workers)} workers, {sum(self._slots.held)} jobs in flight, "
            f"{len(self._queue)} wait for a worker, {len(self._retries)} for time, {len(self._blobs)} blobs>"
        )
