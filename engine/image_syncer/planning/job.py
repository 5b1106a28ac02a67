"""Jobs: blobs on their way through workers, and what the scheduler decides about them. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from image_syncer.errors import SyncError
    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.blob_set import Target

__all__ = ["MOST_LOSSES", "Arrival", "BlobFailed", "BlobLanded", "Decision", "Job", "Lease", "TargetResult"]

MOST_LOSSES = 3
"""Workers that may die with the same blob before it is given up."""


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

    @property
    def weight(self) -> int:
        """The bytes that are expected to move."""
        return 0 if all(target.mounts for target in self.targets) else max(self.size, 1)

    @property
    def alone(self) -> bool:
        """Whether it must be the only job of its worker: it has been in too many that died."""
        return self.targets[0].losses == MOST_LOSSES - 1  # those of all targets are equal

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
    """The destination of `delivery` has the blob; what was moved for it is booked on the first of the deliveries that
    wait for it.
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
