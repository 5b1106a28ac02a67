"""Leasing: what waits is given to whoever is free, as long as there is one.

Jobs go in the order of the queue (`job_queue.py`) to the worker with the fewest bytes left to move (`slots.py`).
*Small* jobs have slots of their own beside those of the *streamed*, so neither kind waits for the other. Limits: the
slots of a worker, of which as many are for streams as pay (`stream_tuner.py`); jobs in flight in all (`proc`); and the
connections of a registry (`connections.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from image_syncer.planning.job import Lease

if TYPE_CHECKING:
    from image_syncer.planning.deliveries import Deliveries
    from image_syncer.planning.job import Decision, Job
    from image_syncer.planning.job_queue import JobQueue
    from image_syncer.planning.quarantine import Quarantine
    from image_syncer.planning.retry_queue import RetryQueue
    from image_syncer.planning.settlement import Settlement
    from image_syncer.planning.slots import Slots, Worker
    from image_syncer.planning.stream_tuner import StreamTuner

__all__ = ["Leasing"]

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
