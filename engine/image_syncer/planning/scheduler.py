"""The scheduler: which worker moves which blob, and when. Leases in, decisions out.

It knows workers, jobs and time as plain values: no process, no socket, no clock. Every call returns the decisions that
follow from it; the coordinator carries them out.

A *job* is one blob from one source to one or more destination registries; the worker that holds it has a *lease*. A
lease ends with a result for each target, or with the loss of the worker, which gives the job back. Which of its jobs
brought a worker down cannot be seen, so a blob gets its last chance alone in a worker: only the guilty is given up.

Jobs go in the order of the queue (`job_queue.py`) to the worker with the fewest bytes in flight. Limits: streams of a
worker, blobs in flight in all (`proc`), and connections of a registry, where one of its own is needed on each side.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError, WorkerError
from image_syncer.planning.blob_set import BlobNeed, BlobSet, Target
from image_syncer.planning.job import (
    MOST_LOSSES,
    Arrival,
    BlobFailed,
    BlobLanded,
    Decision,
    Job,
    Lease,
    TargetResult,
)
from image_syncer.planning.job_queue import JobQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.planning.retry import RetryPolicy

__all__ = ["Scheduler"]


@dataclass
class _Worker:
    jobs: dict[int, Job] = field(default_factory=dict)
    bytes_in_flight: int = 0
    closed: bool = False


class Scheduler:
    """See the essay at the top of the module.

    `workers` is how many there will be: until they have all joined, no worker is given more than its part, so that
    the first to be ready does not take everything. `streams` bounds the jobs of one worker, `proc` those of all
    (None: no bound), `limit_of` the connections of a registry (None: no bound); `chance` gives a uniform number in
    [0, 1) for each pause.
    """

    def __init__(
        self,
        *,
        streams: int,
        workers: int = 1,
        retry: RetryPolicy,
        chance: Callable[[], float],
        proc: int | None = None,
        limit_of: Callable[[str], int | None] = lambda _registry: None,
    ) -> None:
        self._streams = streams
        self._expected = workers
        self._retry = retry
        self._chance = chance
        self._proc = proc
        self._blobs = BlobSet()
        self._queue = JobQueue(limit_of)
        self._workers: dict[int, _Worker] = {}
        self._later: list[tuple[float, int, Target]] = []
        self._serials = itertools.count()
        self._in_flight = 0
        self._stopped = False
        self._awaited: dict[int, int] = {}
        self.landed_blobs = 0
        """Wanted blobs that have an outcome: they are there, or were given up."""
        self.landed_bytes = 0

    @property
    def in_flight(self) -> int:
        """Jobs that workers hold."""
        return self._in_flight

    @property
    def wanted_blobs(self) -> int:
        """Blobs that were wanted so far, each counted once for each repository."""
        return self._blobs.targets

    @property
    def wanted_bytes(self) -> int:
        """The bytes that are expected to move for them, as far as their sizes are known."""
        return self._blobs.target_bytes

    @property
    def wake_at(self) -> float | None:
        """When `tick` should be called next, in the time of the caller's clock; None: nothing waits for time."""
        return self._later[0][0] if self._later else None

    def jobs_of(self, worker: int) -> list[Job]:
        """The jobs that `worker` holds."""
        return list(self._workers[worker].jobs.values()) if worker in self._workers else []

    def want(self, needs: list[BlobNeed]) -> list[Decision]:
        """An image was planned, and needs these blobs."""
        decisions: list[Decision] = []
        for need in needs:
            if self._blobs.has(need.target, need.digest):
                decisions.append(BlobLanded(need.delivery, need.digest, Arrival.PRESENT, 0, 1))
                continue
            self._awaited[need.delivery] = self._awaited.get(need.delivery, 0) + 1
            target = self._blobs.join(need)
            if target is not None:
                self._queue.add(target)
        return decisions + self._lease()

    def drop(self, delivery: int) -> None:
        """`delivery` waits for nothing more and is told nothing more; blobs that only it wanted need not be moved."""
        self._awaited.pop(delivery, None)

    def join(self, worker: int) -> list[Decision]:
        """A worker is ready."""
        self._workers[worker] = _Worker()
        return self._lease()

    def lose(self, worker: int, error: SyncError) -> list[Decision]:
        """A worker is gone: what it held is leased again, or given up where it has brought down several."""
        lost = self._workers.pop(worker, None)
        decisions: list[Decision] = []
        for job in lost.jobs.values() if lost else ():
            self._close(job)
            for target in job.targets:
                target.losses += 1
                if target.losses < MOST_LOSSES:
                    self._queue.add(target)
                else:
                    text = f"{target.losses} workers were lost while they held this blob; the last: {error.message}"
                    # Whoever else waits for it from there would lose as many.
                    decisions += self._give_up(target, WorkerError(text, retryable=False), source_failed=True)
        return decisions + self._lease()

    def end(self, worker: int, job_id: int, results: list[TargetResult], now: float) -> list[Decision]:
        """A worker has finished a job; `results` in the order of its targets. A job that it no longer holds is
        ignored.
        """
        held = self._workers.get(worker)
        job = held.jobs.pop(job_id, None) if held else None
        if held is None or job is None:
            return []
        held.bytes_in_flight -= job.weight
        held.closed = False
        self._close(job)
        decisions: list[Decision] = []
        for target, result in zip(job.targets, results, strict=True):
            if result.arrival is not None:
                decisions += self._land(target, result.arrival, result.bytes_moved)
            elif result.error is not None:
                decisions += self._retry_or_give_up(target, result.error, now)
            else:
                raise RuntimeError(f"job {job_id} ended without an outcome for {target.repository}")
        return decisions + self._lease()

    def tick(self, now: float) -> list[Decision]:
        """Time has passed: what was to be tried again later is taken up."""
        while self._later and self._later[0][0] <= now:
            self._queue.add(heapq.heappop(self._later)[2])
        return self._lease()

    def stop(self) -> None:
        """Lease nothing more."""
        self._stopped = True

    def _land(self, target: Target, arrival: Arrival, bytes_moved: int) -> list[Decision]:
        served, released = self._blobs.landed(target)
        for other in released:
            self._queue.add(other)
        decisions: list[Decision] = []
        for delivery in [delivery for one in (target, *served) for delivery in self._settle(one)]:
            how, moved = (Arrival.PRESENT, 0) if decisions else (arrival, bytes_moved)
            decisions.append(BlobLanded(delivery, target.digest, how, moved, target.tries + 1))
        return decisions

    def _retry_or_give_up(self, target: Target, error: SyncError, now: float) -> list[Decision]:
        target.tries += 1
        pause = self._retry.pause_s(error, target.tries, self._chance())
        if self._unwanted(target):
            self._abandon(target)
        elif pause is None:
            error.tries = target.tries
            return self._give_up(target, error, source_failed=error.origin is Origin.SOURCE)
        else:
            heapq.heappush(self._later, (now + pause, next(self._serials), target))
        return []

    def _give_up(self, target: Target, error: SyncError, *, source_failed: bool) -> list[Decision]:
        fallen, released = self._blobs.failed(target, source_failed=source_failed)
        for other in released:
            self._queue.add(other)
        deliveries = [delivery for one in (target, *fallen) for delivery in self._settle(one)]
        return [BlobFailed(delivery, target.digest, error) for delivery in deliveries]

    def _abandon(self, target: Target) -> None:
        """Nobody waits for `target`; those behind it do not suffer from what happened to it."""
        self._settle(target)
        for other in self._blobs.failed(target, source_failed=False)[1]:
            self._queue.add(other)

    def _unwanted(self, target: Target) -> bool:
        return self._awaited.keys().isdisjoint(target.deliveries)

    def _settle(self, target: Target) -> list[int]:
        """Count `target`, which has an outcome; the deliveries that still waited for it, in the order they came."""
        self.landed_blobs += 1
        self.landed_bytes += target.booked_bytes
        waiting = [delivery for delivery in target.deliveries if delivery in self._awaited]
        for delivery in waiting:
            self._awaited[delivery] -= 1
            if not self._awaited[delivery]:
                del self._awaited[delivery]
        return waiting

    def _lease(self) -> list[Decision]:
        decisions: list[Decision] = []
        while not self._stopped and (self._proc is None or self._in_flight < self._proc):
            worker = self._freest()
            job = self._queue.pop(idle=not self._workers[worker].jobs) if worker is not None else None
            if worker is None or job is None:
                break
            for target in [one for one in job.targets if self._unwanted(one)]:
                job.targets.remove(target)
                self._abandon(target)
            if job.targets:
                self._open(job, worker)
                decisions.append(Lease(worker, job))
        return decisions

    def _freest(self) -> int | None:
        """The worker with the fewest bytes in flight of those that can take a job; one that holds none comes first."""
        most = self._streams
        if len(self._workers) < self._expected:
            most = min(most, math.ceil((self._in_flight + len(self._queue)) / self._expected))
        free = (
            (state.bytes_in_flight, len(state.jobs), worker)
            for worker, state in self._workers.items()
            if len(state.jobs) < most and not state.closed
        )
        best = min(free, default=None)
        return None if best is None else best[2]

    def _open(self, job: Job, worker: int) -> None:
        held = self._workers[worker]
        held.jobs[job.id] = job
        held.bytes_in_flight += job.weight
        held.closed = job.alone
        self._in_flight += 1
        self._queue.occupy(job)

    def _close(self, job: Job) -> None:
        self._in_flight -= 1
        self._queue.vacate(job)

    def __repr__(self) -> str:
        return (
            f"<Scheduler {len(self._workers)} workers, {self._in_flight} jobs in flight, "
            f"{len(self._queue)} wait for a worker, {len(self._later)} for time, {len(self._blobs)} blobs>"
        )
