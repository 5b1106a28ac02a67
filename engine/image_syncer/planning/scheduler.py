"""The scheduler: which worker moves which blob, and when. Leases in, decisions out.

It knows workers, jobs and time as plain values: no process, no socket, no clock. Every call returns the decisions that
follow from it; the coordinator carries them out.

A *job* is one blob from one source to one or more destination registries; the worker that holds it has a *lease*. A
lease ends with a result for each target, or with the loss of the worker, which gives the job back, or has it given up
where it is to blame (`quarantine.py`).

Which of the jobs that wait is leased, and to whom, is `leasing.py`; what follows when one ends is `settlement.py`.

Leasing: what waits is given to whoever is free, as long as there is one.

Jobs go in the order of the queue (`job_queue.py`) to the worker with the fewest bytes left to move (`slots.py`).
*Small* jobs have slots of their own beside those of the *streamed*, so neither kind waits for the other. Limits: the
slots of a worker, of which as many are for streams as pay (`stream_tuner.py`); jobs in flight in all (`proc`); and the
connections of a registry (`connections.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.planning.blob_set import BlobNeed, BlobSet
from image_syncer.planning.breaker import Breakers
from image_syncer.planning.deliveries import Deliveries
from image_syncer.planning.job import Arrival, BlobFailed, BlobLanded, BlobOutcome, Decision, Job, Lease
from image_syncer.planning.job_queue import JobQueue
from image_syncer.planning.quarantine import Quarantine
from image_syncer.planning.retry_queue import RetryQueue
from image_syncer.planning.settlement import Settlement
from image_syncer.planning.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from image_syncer.planning.retry import RetryPolicy
    from image_syncer.planning.slots import Worker
    from image_syncer.planning.stream_tuner import StreamTuner
    from image_syncer.planning.work_count import WorkCount

__all__ = ["Leasing", "Scheduler"]


WORTH_A_WORKER_S = 0.1
"""Work of one worker for so long is worth another process, which takes some 10 ms to start and as much to end."""
BYTES_PER_S = 500e6
"""What one worker moves, about, where nothing else holds it back."""
SMALL_JOB_S = 0.0005
"""What a small job costs one worker, about, beside its bytes."""


class Leasing:
    """Leases jobs of `queue` to workers in `slots`, for deliveries that want them still.

    `workers` is how many there will be: until they have all joined, no worker is given more than its part, so that
    the first to be ready does not take everything. Where the work is worth it there will be more, up to `most_workers`
    (see `workers_wanted`). `streams` bounds the streamed jobs of one worker, `small_streams`
    its small ones; `tuner` may allow fewer streams (None: all of them, always).
    """

    def __init__(
        self,
        queue: JobQueue,
        slots: Slots,
        deliveries: Deliveries,
        settlement: Settlement,
        quarantine: Quarantine,
        later: RetryQueue,
        *,
        workers: int,
        most_workers: int,
        streams: int,
        small_streams: int,
        tuner: StreamTuner | None,
    ) -> None:
        self._queue = queue
        self._slots = slots
        self._deliveries = deliveries
        self._settlement = settlement
        self._quarantine = quarantine
        self._later = later
        self.workers_wanted = workers
        """How many workers there should be now; it only grows."""
        self._most_workers = most_workers
        self._streams = self._most_streams = streams
        self._small_streams = small_streams
        self._tuner = tuner
        self.held = False
        """While it is, nothing is leased; what workers hold goes on."""
        self.stopped = False
        """From then on nothing is leased any more."""

    @property
    def streams_bound(self) -> int:
        """Streamed jobs that a worker may hold at most, however well they pay."""
        return self._streams

    @property
    def streams_allowed(self) -> int:
        """Streamed jobs that a worker may hold now."""
        return self._streams if self._tuner is None else min(self._streams, self._tuner.allowed)

    def bind_streams(self, most: int, now: float) -> None:
        """A worker may stream so many jobs from now on, but no more than there was room for at the start."""
        self._streams = max(1, min(most, self._most_streams))
        if self._tuner is not None:
            self._tuner.bind(self._streams, now)

    def sample(self, moved: int, now: float) -> None:
        """So many bytes have moved since it was told last: how many streams pay is decided from it."""
        if self._tuner is not None:
            in_force = max((held.held[0] for held in self._slots.workers.values()), default=0)
            # Where a worker is free, it is something else that holds the queue back.
            waiting = self._queue.streamed > 0 and self._freest(small=False) is None
            self._tuner.sample(now, moved, in_force, waiting=waiting)

    def lease(self, decisions: list[Decision]) -> list[Decision]:
        """Add the leases that are possible now to `decisions`, which are returned."""
        if self._later.given_up or self._later.failed:
            self._settlement.give_up_registries(decisions)
        if self.workers_wanted < self._most_workers:
            self._see_whether_more_workers_pay()
        queue, seen = self._queue, -1
        # A job that nobody wants any more may have held others back, which are added meanwhile.
        while len(queue) and not (self.stopped or self.held) and queue.made != seen:
            seen = queue.made
            self._bind()
            if queue.has_alone:
                self._lease_alone(decisions)
            if queue.limited or self._slots.most is not None:
                self._lease_kind(decisions, small=False, fair=True)
                self._lease_kind(decisions, small=True, fair=True)
            if queue.streamed:
                self._lease_kind(decisions, small=False)
            if queue.small:
                self._lease_kind(decisions, small=True)
        return decisions

    def _see_whether_more_workers_pay(self) -> None:
        slots, queue = self._slots, self._queue
        work_s = (slots.bytes_left + queue.streamed_bytes) / BYTES_PER_S
        work_s += (slots.held[1] + queue.small) * SMALL_JOB_S
        wanted = math.ceil(work_s / WORTH_A_WORKER_S)
        if queue.streamed and len(slots.workers) >= self.workers_wanted and slots.lacks_streams():
            wanted = max(wanted, self.workers_wanted + 1)
        self.workers_wanted = max(self.workers_wanted, min(wanted, self._most_workers))

    def _bind(self) -> None:
        """See how many jobs of each kind a worker may hold now."""
        streams, small = self.streams_allowed, self._small_streams
        if len(self._slots.workers) < self.workers_wanted:
            parts, held = self.workers_wanted, self._slots.held
            streams = min(streams, -(-(held[0] + self._queue.streamed) // parts))
            small = min(small, -(-(held[1] + self._queue.small) // parts))
        self._slots.bind(streams, small)

    def _lease_kind(self, decisions: list[Decision], *, small: bool, fair: bool = False) -> None:
        """Lease jobs of one kind; with `fair`, within its share of what it has to share with the other."""
        queue = self._queue
        while queue.small if small else queue.streamed:
            if self._slots.is_full(small=small, fair=fair):
                return
            worker = self._freest(small=small)
            job = queue.pop(small=small, fair=fair) if worker is not None else None
            if worker is None or job is None:
                return
            self._offer(job, worker, decisions)

    def _lease_alone(self, decisions: list[Decision]) -> None:
        for worker in self._slots.idle():
            while not worker.jobs and not self._slots.is_full():
                job = self._queue.pop_alone()
                if job is None:
                    return
                self._offer(job, worker, decisions)

    def _freest(self, *, small: bool) -> Worker | None:
        return self._slots.freest(small=small, waiting_bytes=self._queue.streamed_bytes)

    def _offer(self, job: Job, worker: Worker, decisions: list[Decision]) -> None:
        """Lease `job` to `worker`, if somebody wants it still."""
        if not all(self._deliveries.want(target) for target in job.targets):
            for target in [one for one in job.targets if not self._deliveries.want(one)]:
                job.targets.remove(target)
                self._settlement.abandon(target)
            if not job.targets:
                return
        if (fatal := self._quarantine.find(job.source, job.digest)) is not None:
            for target in job.targets:
                decisions += self._settlement.give_up(target, fatal, source_failed=True)
            return
        self._slots.open(worker, job)
        self._queue.occupy(job)
        decisions.append(Lease(worker.number, job))


class Scheduler:
    """See the essay at the top of the module.

    `workers` is how many there will be: until they have all joined, no worker is given more than its part, so that
    the first to be ready does not take everything. More are wanted while there is work for them, up to `most_workers`
    (None: never). `streams` bounds the streamed jobs of one worker, `small_streams`
    its small ones, which are mounts and blobs of at most `small_bytes` (0: there are no small jobs); `proc` bounds
    those of all together (None: no bound), `limit_of` the connections of a registry (None: no bound). `tuner` may
    allow fewer streams (None: all of them, always); `chance` gives a uniform number in [0, 1) for each pause. Nothing
    is leased to or from a registry whose breaker in `breakers` is open.
    """

    def __init__(
        self,
        *,
        streams: int,
        workers: int = 1,
        most_workers: int | None = None,
        retry: RetryPolicy,
        chance: Callable[[], float],
        proc: int | None = None,
        limit_of: Callable[[str], int | None] = lambda _registry: None,
        small_streams: int = 0,
        small_bytes: int = 0,
        tuner: StreamTuner | None = None,
        blobs: BlobSet | None = None,
        breakers: Breakers | None = None,
    ) -> None:
        self._blobs = BlobSet() if blobs is None else blobs
        self._blobs.work.small_bytes = small_bytes if small_streams else None
        self.quarantine = Quarantine()
        self._queue = JobQueue(limit_of, small_bytes=small_bytes if small_streams else None)
        self.queue = self._queue
        """What waits, and which registries have connections to spare."""
        self._slots = Slots(proc)
        self._moved_bytes = 0
        self._sampled_bytes = 0
        self._breakers = breakers or Breakers()
        self._breakers.listen(self._queue.on_breaker)
        self._later = RetryQueue(retry, chance, self._breakers)
        self._deliveries = Deliveries()
        parts = (self._blobs, self._queue, self._later, self._deliveries, self._breakers)
        self._settlement = Settlement(*parts, tuner)
        self._leasing = Leasing(
            self._queue,
            self._slots,
            self._deliveries,
            self._settlement,
            self.quarantine,
            self._later,
            workers=workers,
            most_workers=most_workers or workers,
            streams=streams,
            small_streams=small_streams,
            tuner=tuner,
        )

    @property
    def in_flight(self) -> int:
        """Jobs that workers hold."""
        return self._slots.held[0] + self._slots.held[1]

    @property
    def workers_wanted(self) -> int:
        """How many workers there should be now; it only grows."""
        return self._leasing.workers_wanted

    @property
    def streams_bound(self) -> int:
        """Streamed jobs that a worker may hold at most, however well they pay."""
        return self._leasing.streams_bound

    @property
    def streams_allowed(self) -> int:
        """Streamed jobs that a worker may hold now."""
        return self._leasing.streams_allowed

    @property
    def wanted_blobs(self) -> int:
        """Blobs that were wanted so far, each counted once for each repository."""
        return self._blobs.targets

    @property
    def wanted_bytes(self) -> int:
        """The bytes that are expected to move for them, as far as their sizes are known."""
        return self._blobs.target_bytes

    @property
    def landed_blobs(self) -> int:
        """Wanted blobs that have an outcome: they are there, or were given up."""
        return self._settlement.landed_blobs

    @property
    def landed_bytes(self) -> int:
        """The bytes that were expected to move for them."""
        return self._settlement.landed_bytes

    @property
    def work(self) -> WorkCount:
        """What was wanted and what of it has an outcome, by the way that it takes."""
        return self._blobs.work

    @property
    def waiting_deliveries(self) -> int:
        """Deliveries that wait for blobs."""
        return len(self._deliveries)

    @property
    def wake_at(self) -> float | None:
        """When `tick` should be called next, in the time of the caller's clock; None: nothing waits for time."""
        return self._later.wake_at

    def narrow(self, most: int | None) -> None:
        """So many jobs may be in flight now, within `proc`; None: as many as that allows."""
        self._slots.narrow(most)

    def held(self) -> dict[int, tuple[int, int]]:
        """The streamed and the small jobs of each worker."""
        return {number: (worker.held[0], worker.held[1]) for number, worker in self._slots.workers.items()}

    def hold(self, *, held: bool) -> list[Decision]:
        """While it is held, nothing is leased; what workers hold goes on."""
        self._leasing.held = held
        return self._leasing.lease([])

    def bind_streams(self, most: int, now: float) -> list[Decision]:
        """A worker may stream so many jobs from now on, but no more than there was room for at the start."""
        self._leasing.bind_streams(most, now)
        return self._leasing.lease([])

    def jobs_of(self, worker: int) -> list[Job]:
        """The jobs that `worker` holds."""
        return list(held.jobs.values()) if (held := self._slots.workers.get(worker)) else []

    def want(self, needs: list[BlobNeed]) -> list[Decision]:
        """An image was planned, and needs these blobs."""
        decisions: list[Decision] = []
        for need in needs:
            if self._blobs.has(need.target, need.digest):
                decisions.append(BlobLanded(need.delivery, need.digest, Arrival.PRESENT, 0, 1))
                continue
            if (fatal := self.quarantine.find(need.source, need.digest)) is not None:
                decisions.append(BlobFailed(need.delivery, need.digest, fatal))
                continue
            self._deliveries.add(need.delivery)
            target = self._blobs.join(need)
            if target is not None:
                self._queue.add(target)
        return self._leasing.lease(decisions)

    def drop(self, delivery: int) -> None:
        """`delivery` waits for nothing more and is told nothing more; blobs that only it wanted need not be moved."""
        self._deliveries.drop(delivery)

    def expects(self, delivery: int) -> bool:
        """Whether `delivery` waits for something still."""
        return delivery in self._deliveries

    def join(self, worker: int) -> list[Decision]:
        """A worker is ready."""
        self._slots.join(worker)
        return self._leasing.lease([])

    def lose(self, worker: int, error: SyncError) -> list[Decision]:
        """A worker is gone: what it held is leased again, or given up where it has brought down several."""
        decisions: list[Decision] = []
        for job in self._slots.leave(worker):
            self._queue.vacate(job)
            for target in [one for position, one in enumerate(job.targets) if position not in job.settled]:
                fatal = self.quarantine.lost(target, job.received, error)
                if fatal is None:
                    self._queue.add(target)
                else:
                    decisions += self._settlement.give_up(target, fatal, source_failed=True)
        return self._leasing.lease(decisions)

    def split(self, worker: int, job_id: int, behind: tuple[int, ...]) -> list[Decision]:
        """These targets of a job, by position, hold its others back: they get the blob in a job of their own, at once.

        What the first job says of them when it ends is ignored.
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
        return self._leasing.lease([])

    def progress(self, worker: int, received: Mapping[int, int]) -> None:
        """How many bytes have come of the jobs, by id, that `worker` holds."""
        held = self._slots.workers.get(worker)
        for job_id, bytes_done in received.items() if held else ():
            if held and (job := held.jobs.get(job_id)) is not None:
                self._moved_bytes += self._slots.note_progress(held, job, bytes_done)

    def sample(self, now: float) -> list[Decision]:
        """To be called about twice a second, after `progress`: how many streams pay is decided from it."""
        moved, self._sampled_bytes = self._moved_bytes - self._sampled_bytes, self._moved_bytes
        self._queue.recover(now)
        self._leasing.sample(moved, now)
        return self._leasing.lease([])

    def end(self, worker: int, job_id: int, results: list[BlobOutcome], now: float) -> list[Decision]:
        """A worker has finished a job; `results` in the order of its targets. A job that it no longer holds is
        ignored.
        """
        return self.end_many(worker, [(job_id, results)], now)

    def end_many(self, worker: int, ended: Iterable[tuple[int, list[BlobOutcome]]], now: float) -> list[Decision]:
        """The same for several jobs: what follows from all of them is leased at once."""
        held = self._slots.workers.get(worker)
        decisions: list[Decision] = []
        if held is None:
            return decisions
        for job_id, results in ended:
            job = held.jobs.get(job_id)
            if job is None:
                continue
            self._slots.close(held, job)
            self._queue.vacate(job)
            for position, result in enumerate(results):
                if position not in job.settled:
                    self._end_target(job, position, result, now, decisions)
        self._queue.recover(now)
        return self._leasing.lease(decisions)

    def end_target(self, worker: int, job_id: int, position: int, result: BlobOutcome, now: float) -> list[Decision]:
        """One target of a job has ended before the others: whoever waits for it need not wait for them.

        What the job says of it when it ends is ignored.
        """
        held = self._slots.workers.get(worker)
        job = held.jobs.get(job_id) if held else None
        decisions: list[Decision] = []
        if job is not None and position not in job.settled:
            self._end_target(job, position, result, now, decisions)
        return self._leasing.lease(decisions)

    def tick(self, now: float) -> list[Decision]:
        """Time has passed: what was to be tried again later is taken up."""
        for target in self._later.take_due(now):
            self._queue.add(target)
        self._queue.recover(now)
        return self._leasing.lease([])

    def stop(self) -> None:
        """Lease nothing more."""
        self._leasing.stopped = True

    def _end_target(self, job: Job, position: int, result: BlobOutcome, now: float, decisions: list[Decision]) -> None:
        target = job.targets[position]
        # What happened to the source happened once, to all that are left.
        told = bool(job.settled) and result.error is not None and result.error.origin is Origin.SOURCE
        job.settled += (position,)
        if result.arrival is not None:
            if result.bytes_moved > job.received:
                self._moved_bytes += result.bytes_moved - job.received
                job.received = result.bytes_moved  # it came once, for all targets
            self._breakers.answered(target.repository.registry, now)
            if result.bytes_moved:
                self._breakers.answered(job.source.registry, now)
            self._settlement.land(target, result.arrival, result.bytes_moved, decisions)
        elif result.error is not None:
            place = job.source if result.error.origin is Origin.SOURCE else target.repository
            if not told:
                self._settlement.note_refusal(place.registry, result.error, now)
            decisions += self._settlement.retry_or_give_up(target, place.registry, result.error, now)
        else:
            raise RuntimeError(f"job {job.id} ended without an outcome for {target.repository}")

    def __repr__(self) -> str:
        return (
            f"<Scheduler {len(self._slots.workers)} workers, {self.in_flight} jobs in flight, "
            f"{len(self._queue)} wait for a worker, {len(self._later)} for time, {len(self._blobs)} blobs>"
        )
