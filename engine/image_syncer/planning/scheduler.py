"""The scheduler: which worker moves which blob, and when. Leases in, decisions out.

It knows workers, jobs and time as plain values: no process, no socket, no clock. Every call returns the decisions that
follow from it; the coordinator carries them out.

A *job* is one blob from one source to one or more destination registries; the worker that holds it has a *lease*. A
lease ends with a result for each target, or with the loss of the worker, which gives the job back, or has it given up
where it is to blame (`quarantine.py`).

Which of the jobs that wait is leased, and to whom, is `leasing.py`; what follows when one ends is `settlement.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.planning.blob_set import BlobNeed, BlobSet
from image_syncer.planning.breaker import Breakers
from image_syncer.planning.deliveries import Deliveries
from image_syncer.planning.job import Arrival, BlobFailed, BlobLanded, Decision, Job, TargetResult
from image_syncer.planning.job_queue import JobQueue
from image_syncer.planning.leasing import Leasing
from image_syncer.planning.quarantine import Quarantine
from image_syncer.planning.retry_queue import RetryQueue
from image_syncer.planning.settlement import Settlement
from image_syncer.planning.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from image_syncer.planning.retry import RetryPolicy
    from image_syncer.planning.stream_tuner import StreamTuner
    from image_syncer.planning.work_count import WorkCount

__all__ = ["Scheduler"]


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

    def end(self, worker: int, job_id: int, results: list[TargetResult], now: float) -> list[Decision]:
        """A worker has finished a job; `results` in the order of its targets. A job that it no longer holds is
        ignored.
        """
        return self.end_many(worker, [(job_id, results)], now)

    def end_many(self, worker: int, ended: Iterable[tuple[int, list[TargetResult]]], now: float) -> list[Decision]:
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

    def end_target(self, worker: int, job_id: int, position: int, result: TargetResult, now: float) -> list[Decision]:
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

    def _end_target(self, job: Job, position: int, result: TargetResult, now: float, decisions: list[Decision]) -> None:
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
