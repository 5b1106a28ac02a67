"""Jobs (blobs on their way through workers), their outcomes, and the decisions of the scheduler. Plain values."""

from __future__ import annotations

import heapq
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from image_syncer.errors import SyncError  # noqa: TC001 - msgspec resolves the annotations of outcomes
from image_syncer.scheduling.blob_set import MOST_LOSSES
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.scheduling.blob_set import BlobTarget
    from image_syncer.scheduling.connections import ConnectionHost


class Arrival(str, Enum):
    """How a blob got to its destination."""

    MOVED = "moved"
    MOUNTED = "mounted"
    PRESENT = "present"


class BlobOutcome(Value, frozen=True, array_like=True):
    """The outcome of one target of a job: `arrival` or `error`; `bytes_moved` were transferred for it.

    With `behind`, the destination was too slow and continues in a job of its own (`Scheduler.split`). With
    `session_stays`, its upload session is still open for the next try.
    """

    arrival: Arrival | None
    bytes_moved: int = 0
    error: SyncError | None = None
    behind: bool = False
    session_stays: bool = False


class Job(Struct, eq=False):
    """One blob from `source` to its `targets`; `size` in bytes, -1 where it is not known yet.

    A `small` job is buffered as a whole and takes a slot for small jobs; any other is streamed through a window.
    """

    id: int
    digest: Digest
    size: int
    source: Repository
    targets: list[BlobTarget]
    small: bool = False
    weight: int = -1
    """The bytes that are expected to move; 0 for a mount."""
    received: int = 0
    """Those of them that have come, as far as is known."""
    waits: bool = False
    """Whether it is in the queue."""
    lane: Lane | None = None
    """Its lane in the queue; None before it was queued."""
    settled: tuple[int, ...] = ()
    """Positions of targets that ended before the job, or were split off."""
    alone: bool = False
    """Whether it must be the only job of its worker: too many workers died with it."""

    def __post_init__(self) -> None:
        target = self.targets[0]  # losses of all targets are equal, and one that mounts is the only one
        self.alone = target.losses == MOST_LOSSES - 1
        if self.weight < 0:
            self.weight = 0 if target.mounts else max(self.size, 1)

    @property
    def may_split(self) -> bool:
        """Whether a slow target may be split off: once, so that the source is read twice at most."""
        return len(self.targets) > 1 and not self.targets[0].split

    @property
    def left(self) -> int:
        """Bytes that are still expected to move."""
        return max(self.weight - self.received, 0)

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries that it uses, one entry per connection."""
        if len(self.targets) == 1:
            return self.source.registry, self.targets[0].repository.registry
        return (self.source.registry, *(target.repository.registry for target in self.targets))


class Lease(Value, frozen=True):
    """Give `job` to `worker`."""

    worker: int
    job: Job


class BlobLanded(Value, frozen=True):
    """The destination of `delivery` has the blob. Of several deliveries that wait, the first gets `bytes_moved`."""

    delivery: int
    digest: Digest
    arrival: Arrival
    bytes_moved: int
    tries: int


class BlobFailed(Value, frozen=True):
    """The blob cannot be brought to the destination of `delivery`."""

    delivery: int
    digest: Digest
    error: SyncError


Decision: TypeAlias = Lease | BlobLanded | BlobFailed

Entry: TypeAlias = tuple[int, int, Job]
"""In a lane: the rank (the smallest first), the id of the job, which orders equal ranks, and the job."""


class Lane(Struct, eq=False):
    """The waiting jobs that need the same hosts, each with the number of connections that one job needs to it.

    A job that left, or got another target and so another lane, leaves an entry behind, which is skipped.
    """

    hosts: tuple[tuple[ConnectionHost, int], ...]
    registries: tuple[str, ...]
    _streamed: list[Entry] = field(default_factory=list)
    _mounts: deque[Job] = field(default_factory=deque)
    _small: deque[Job] = field(default_factory=deque)

    def add(self, job: Job, rank: int) -> None:
        """Add `job`; a streamed one after those with a lower `rank`."""
        if not job.small:
            heapq.heappush(self._streamed, (rank, job.id, job))
        elif job.weight:
            self._small.append(job)
        else:
            self._mounts.append(job)

    def first(self, *, small: bool) -> Entry | None:
        """The first waiting job, with what orders it among the first of other lanes; None where none waits."""
        if not small:
            heap = self._streamed
            while heap:
                job = heap[0][2]
                if job.waits and job.lane is self:
                    return heap[0]
                heapq.heappop(heap)
            return None
        for rank, jobs in enumerate((self._mounts, self._small)):
            while jobs:
                job = jobs[0]
                if job.waits and job.lane is self:
                    return rank, job.id, job
                jobs.popleft()
        return None

    def has_room(self, *, small: bool, fair: bool = False) -> bool:
        """Return whether one more of its jobs can have its connections."""
        for host, needed in self.hosts:
            if host.down or (host.allowed is not None and not host.has_room(needed, small=small, fair=fair)):
                return False
        return True

    def drain(self) -> list[Job]:
        """Remove and return the waiting jobs."""
        jobs = [entry[2] for entry in self._streamed] + [*self._mounts, *self._small]
        self._streamed.clear()
        self._mounts.clear()
        self._small.clear()
        return [job for job in dict.fromkeys(jobs) if job.waits and job.lane is self]
