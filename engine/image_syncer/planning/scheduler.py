"""The scheduler: which worker moves which blob, and when. Leases in, decisions out.

It knows workers, jobs and time as plain values: no process, no socket, no clock. Every call returns the decisions that
follow from it; the coordinator carries them out.

A *job* is one blob from one source to one or more destination registries; the worker that holds it has a *lease*. A
lease ends with a result for each target, or with the loss of the worker, which gives the job back. Which of its jobs
has brought a worker down cannot be seen, so a blob gets its last chance alone in a worker: only the guilty one is given
up. Jobs that only mount
come first (they cost one request), then the largest blobs, so that no giant is left alone at the end; each goes to the
worker with the fewest bytes in flight. Limits: streams of a worker, blobs in flight in all (`proc`), and connections of
a registry, where one of its own is needed on each side.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from image_syncer.errors import Origin, SyncError, WorkerError
from image_syncer.planning.blob_set import BlobNeed, BlobSet, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.retry import RetryPolicy

__all__ = ["Arrival", "BlobFailed", "BlobLanded", "Decision", "Job", "Lease", "Scheduler", "TargetResult"]

MOST_TARGETS = 8
"""Destinations fed by one download."""
MOST_LOSSES = 3
"""Workers that may die with the same blob before it is given up."""
MOUNTS_FIRST = -(2**62)
"""Ranks before every size."""


class Arrival(str, Enum):
    """How a blob got to be at its destination."""

    MOVED = "moved"
    MOUNTED = "mounted"
    PRESENT = "present"


@dataclass(frozen=True)
class TargetResult:
    """What became of one target of a job: `arrival`, or `error`; `bytes_moved` went over the wire for it."""

    arrival: Arrival | None
    bytes_moved: int = 0
    error: SyncError | None = None


@dataclass(eq=False)
class Job:
    """One blob from `source` to its `targets`; `size` in bytes, -1 where nobody knows it yet."""

    id: int
    digest: Digest
    size: int
    source: Repository
    targets: list[Target]
    worker: int | None = None
    alone: bool = False

    @property
    def weight(self) -> int:
        """The bytes that are expected to move."""
        return 0 if all(target.mounts for target in self.targets) else max(self.size, 1)

    @property
    def lane(self) -> tuple[str, ...]:
        """The registries that it keeps busy, one entry a connection."""
        return (self.source.registry, *(target.repository.registry for target in self.targets))


@dataclass(frozen=True)
class Lease:
    """Give `job` to `worker`."""

    worker: int
    job: Job


@dataclass(frozen=True)
class BlobLanded:
    """The destination of `delivery` has the blob; what was moved for it is booked on the delivery that wanted it
    first.
    """

    delivery: int
    digest: Digest
    arrival: Arrival
    bytes_moved: int
    tries: int


@dataclass(frozen=True)
class BlobFailed:
    """The blob cannot be brought to the destination of `delivery`."""

    delivery: int
    digest: Digest
    error: SyncError


Decision: TypeAlias = Lease | BlobLanded | BlobFailed


@dataclass
class _Worker:
    jobs: dict[int, Job] = field(default_factory=dict)
    bytes_in_flight: int = 0

    def has_room(self, streams: int) -> bool:
        return len(self.jobs) < streams and not any(job.alone for job in self.jobs.values())


class Scheduler:
    """See the essay at the top of the module.

    `streams` bounds the jobs of one worker, `proc` those of all (None: no bound), `limit_of` the connections of a
    registry (None: no bound); `chance` gives a uniform number in [0, 1) for each pause.
    """

    def __init__(
        self,
        *,
        streams: int,
        retry: RetryPolicy,
        chance: Callable[[], float],
        proc: int | None = None,
        limit_of: Callable[[str], int | None] = lambda _registry: None,
    ) -> None:
        self._streams = streams
        self._retry = retry
        self._chance = chance
        self._proc = proc
        self._limit_of = limit_of
        self._blobs = BlobSet()
        self._workers: dict[int, _Worker] = {}
        self._jobs: dict[int, Job] = {}
        self._next_job = 1
        self._lanes: dict[tuple[str, ...], list[tuple[int, int, int]]] = {}
        self._joinable: dict[Digest, Job] = {}
        self._alone: list[Job] = []
        self._later: list[tuple[float, int, Target]] = []
        self._in_use: dict[str, int] = {}
        self._in_flight = 0
        self._stopped = False
        self._dropped: set[int] = set()
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
            target = self._blobs.join(need)
            if target is not None:
                self._enqueue(target)
        return decisions + self._lease()

    def drop(self, delivery: int) -> None:
        """`delivery` has failed and waits for nothing any more; blobs that only it wanted need not be moved."""
        self._dropped.add(delivery)

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
                    self._enqueue(target)
                else:
                    text = f"{target.losses} workers were lost while they held this blob; the last: {error.message}"
                    decisions += self._give_up(target, WorkerError(text, retryable=False))
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
        self._close(job)
        decisions: list[Decision] = []
        for target, result in zip(job.targets, results, strict=True):
            if result.arrival is not None:
                decisions += self._land(target, result)
            elif result.error is not None:
                decisions += self._retry_or_give_up(target, result.error, now)
        return decisions + self._lease()

    def tick(self, now: float) -> list[Decision]:
        """Time has passed: what was to be tried again later is taken up."""
        while self._later and self._later[0][0] <= now:
            self._enqueue(heapq.heappop(self._later)[2])
        return self._lease()

    def stop(self) -> None:
        """Lease nothing more."""
        self._stopped = True

    def _land(self, target: Target, result: TargetResult) -> list[Decision]:
        arrival = result.arrival
        assert arrival is not None
        self._count(target)
        for other in self._blobs.landed(target):
            self._enqueue(other)
        decisions: list[Decision] = []
        for index, delivery in enumerate(target.deliveries):
            how, moved = (arrival, result.bytes_moved) if index == 0 else (Arrival.PRESENT, 0)
            decisions.append(BlobLanded(delivery, target.digest, how, moved, target.tries + 1))
        return decisions

    def _retry_or_give_up(self, target: Target, error: SyncError, now: float) -> list[Decision]:
        target.tries += 1
        pause = self._retry.pause_s(error, target.tries, self._chance())
        if pause is None or self._unwanted(target):
            error.tries = target.tries
            return self._give_up(target, error)
        heapq.heappush(self._later, (now + pause, self._serial(), target))
        return []

    def _give_up(self, target: Target, error: SyncError) -> list[Decision]:
        fallen, revived = self._blobs.failed(target, source_failed=error.origin is Origin.SOURCE)
        for other in (target, *fallen):
            self._count(other)
        for other in revived:
            self._enqueue(other)
        return [BlobFailed(delivery, one.digest, error) for one in (target, *fallen) for delivery in one.deliveries]

    def _unwanted(self, target: Target) -> bool:
        return bool(self._dropped) and self._dropped.issuperset(target.deliveries)

    def _count(self, target: Target) -> None:
        self.landed_blobs += 1
        self.landed_bytes += target.booked_bytes

    def _serial(self) -> int:
        self._next_job += 1
        return self._next_job

    def _enqueue(self, target: Target) -> None:
        if target.losses == MOST_LOSSES - 1:
            job = Job(self._serial(), target.digest, target.size, target.source, [target], alone=True)
            self._jobs[job.id] = job
            self._alone.append(job)
            return
        job = self._joinable.get(target.digest)
        if job is not None and not target.mounts and self._can_join(job, target):
            job.targets.append(target)
            self._push(job)
            return
        job = Job(self._serial(), target.digest, target.size, target.source, [target])
        self._jobs[job.id] = job
        if not target.mounts:
            self._joinable[target.digest] = job
        self._push(job)

    def _can_join(self, job: Job, target: Target) -> bool:
        registries = {other.repository.registry for other in job.targets}
        return len(job.targets) < MOST_TARGETS and target.repository.registry not in registries

    def _push(self, job: Job) -> None:
        # A job that got another target is pushed into its new lane; the entry in the old one is stale, and skipped.
        rank = -job.weight if job.weight else MOUNTS_FIRST
        heapq.heappush(self._lanes.setdefault(job.lane, []), (rank, job.id, len(job.targets)))

    def _lease(self) -> list[Decision]:
        decisions: list[Decision] = []
        while not self._stopped and (self._proc is None or self._in_flight < self._proc):
            worker, job = self._next_alone() or (self._freest(), None)
            job = job or (self._next() if worker is not None else None)
            if worker is None or job is None:
                break
            if self._shed(job):
                self._open(job, worker)
                decisions.append(Lease(worker, job))
            else:
                del self._jobs[job.id]
        return decisions

    def _shed(self, job: Job) -> bool:
        """Leave out the targets that nobody waits for any more; whether one is left."""
        for target in [one for one in job.targets if self._unwanted(one)]:
            job.targets.remove(target)
            self._count(target)
            for other in self._blobs.failed(target, source_failed=False)[1]:
                self._enqueue(other)
        if not job.targets and self._joinable.get(job.digest) is job:
            del self._joinable[job.digest]
        return bool(job.targets)

    def _freest(self) -> int | None:
        free = (
            (state.bytes_in_flight, len(state.jobs), worker)
            for worker, state in self._workers.items()
            if state.has_room(self._streams)
        )
        best = min(free, default=None)
        return None if best is None else best[2]

    def _next_alone(self) -> tuple[int, Job] | None:
        idle = next((worker for worker, state in self._workers.items() if not state.jobs), None)
        job = next((job for job in self._alone if self._lane_free(job.lane)), None) if idle is not None else None
        if idle is None or job is None:
            return None
        self._alone.remove(job)
        return idle, job

    def _next(self) -> Job | None:
        best: tuple[tuple[int, int, int], tuple[str, ...]] | None = None
        for lane in list(self._lanes):
            heap = self._lanes[lane]
            while heap and self._is_stale(heap[0]):
                heapq.heappop(heap)
            if not heap:
                del self._lanes[lane]
            elif (best is None or heap[0] < best[0]) and self._lane_free(lane):
                best = (heap[0], lane)
        if best is None:
            return None
        heapq.heappop(self._lanes[best[1]])
        return self._jobs[best[0][1]]

    def _is_stale(self, entry: tuple[int, int, int]) -> bool:
        job = self._jobs.get(entry[1])
        return job is None or job.worker is not None or len(job.targets) != entry[2]

    def _lane_free(self, lane: tuple[str, ...]) -> bool:
        for registry in set(lane):
            limit = self._limit_of(registry)
            # A registry that is both source and destination needs two; where only one is allowed, one must do.
            if limit is not None and self._in_use.get(registry, 0) + min(lane.count(registry), limit) > limit:
                return False
        return True

    def _open(self, job: Job, worker: int) -> None:
        held = self._workers[worker]
        job.worker = worker
        held.jobs[job.id] = job
        held.bytes_in_flight += job.weight
        self._in_flight += 1
        for registry in job.lane:
            self._in_use[registry] = self._in_use.get(registry, 0) + 1
        if self._joinable.get(job.digest) is job:
            del self._joinable[job.digest]

    def _close(self, job: Job) -> None:
        self._in_flight -= 1
        del self._jobs[job.id]
        for registry in job.lane:
            self._in_use[registry] -= 1

    def __repr__(self) -> str:
        return (
            f"<Scheduler {len(self._workers)} workers, {self._in_flight} of {len(self._jobs)} jobs in flight, "
            f"{len(self._later)} for later, {len(self._blobs)} blobs>"
        )
