"""Jobs: blobs on their way through workers, and what the scheduler decides about them. Plain values."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from image_syncer.errors import SyncError  # noqa: TC001 - the codec asks for the types of fields
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.blob_set import Target
    from image_syncer.planning.connections import Lane

__all__ = ["MOST_LOSSES", "Arrival", "BlobFailed", "BlobLanded", "BlobOutcome", "Decision", "Job", "Lease"]

MOST_LOSSES = 3
"""Workers that may die with the same blob before it is given up (see `quarantine.py`)."""


class Arrival(str, Enum):
    """How a blob got to be at its destination."""

    MOVED = "moved"
    MOUNTED = "mounted"
    PRESENT = "present"


class BlobOutcome(Value, frozen=True, array_like=True):
    """What became of one target of a job: `arrival`, or `error`; `bytes_moved` went over the wire for it.

    A target that was `behind` held the others back: nothing is wrong with it but its speed, and it has a job of its own
    since then (`Scheduler.split`). Where `session_stays`, its upload session is still open, for the next try.
    """

    arrival: Arrival | None
    bytes_moved: int = 0
    error: SyncError | None = None
    behind: bool = False
    session_stays: bool = False


class Job(Struct, eq=False):
    """One blob from `source` to its `targets`; `size` in bytes, -1 where nobody knows it yet.

    A `small` one goes through a buffer as a whole, and takes a worker's slot for small jobs; any other is streamed
    through a window.
    """

    id: int
    digest: Digest
    size: int
    source: Repository
    targets: list[Target]
    small: bool = False
    weight: int = -1
    """The bytes that are expected to move; what is to be mounted moves none."""
    received: int = 0
    """Of these bytes, those that have come, as far as is known."""
    waits: bool = False
    """Whether it is in the queue."""
    lane: Lane | None = None
    """Where it waits or waited; None before that."""
    settled: tuple[int, ...] = ()
    """The targets, by position, with which this job has no more to do: they ended before it, or were split off."""
    alone: bool = False
    """Whether it must be the only job of its worker: it has been in too many that died."""

    def __post_init__(self) -> None:
        target = self.targets[0]  # losses of all targets are equal, and one that mounts is the only one
        self.alone = target.losses == MOST_LOSSES - 1
        if self.weight < 0:
            self.weight = 0 if target.mounts else max(self.size, 1)

    @property
    def may_split(self) -> bool:
        """Whether a target that holds the others back may be split off: once, so the source is read twice at most."""
        return len(self.targets) > 1 and not self.targets[0].split

    @property
    def left(self) -> int:
        """Bytes that are still expected to move."""
        return max(self.weight - self.received, 0)

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries that it keeps busy, one entry a connection."""
        if len(self.targets) == 1:
            return self.source.registry, self.targets[0].repository.registry
        return (self.source.registry, *(target.repository.registry for target in self.targets))


class Lease(Value, frozen=True):
    """Give `job` to `worker`."""

    worker: int
    job: Job


class BlobLanded(Value, frozen=True):
    """The destination of `delivery` has the blob; what was moved for it is booked on the first of the deliveries that
    wait for it.
    """

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
