"""The queue of jobs: what waits for a worker, in which order, and which registries have connections to spare.

Jobs that only mount come first (they cost one request), then the largest blobs, so that no giant is left alone at the
end. Jobs that need a worker of their own go before all others to one that holds nothing.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias

from image_syncer.planning.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.blob_set import Target

__all__ = ["JobQueue"]

MOST_TARGETS = 8
"""Destinations fed by one download."""
MOUNTS_FIRST = -(2**64)
"""Ranks before every size."""

_Lane: TypeAlias = "tuple[str, ...]"
_Kind: TypeAlias = "tuple[Repository, Digest, int, int]"
_Entry: TypeAlias = "tuple[int, int, int]"
"""In a lane: the rank (the smallest comes first), the job's id, and how many targets it had then."""


class JobQueue:
    """See the essay at the top of the module. `limit_of` bounds the connections of a registry (None: no bound)."""

    def __init__(self, limit_of: Callable[[str], int | None]) -> None:
        self._limit_of = limit_of
        self._jobs: dict[int, Job] = {}
        self._joinable: dict[_Kind, Job] = {}
        self._lanes: dict[_Lane, list[_Entry]] = {}
        self._alone: list[Job] = []
        self._in_use: dict[str, int] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, target: Target) -> None:
        """`target` waits for a worker: in a job of its own, or in one that brings the same blob from the same source
        to other registries.
        """
        kind = _kind_of(target)
        job = None if target.mounts else self._joinable.get(kind)
        if job is not None and _can_join(job, target):
            job.targets.append(target)
        else:
            job = self._make(target)
            if not target.mounts:
                self._joinable[kind] = job
        if not job.alone:
            # A job that got another target gets into its new lane; the entry in the old one is stale, and skipped.
            rank = -job.weight if job.weight else MOUNTS_FIRST
            heapq.heappush(self._lanes.setdefault(job.lane, []), (rank, job.id, len(job.targets)))

    def pop(self, *, idle: bool) -> Job | None:
        """The first job whose registries have connections to spare, for a worker that holds nothing (`idle`) or not;
        None where there is none. It waits no more, and nothing joins it.
        """
        job = (self._first_alone() if idle else None) or self._first()
        if job is not None:
            del self._jobs[job.id]
            kind = _kind_of(job.targets[0])
            if self._joinable.get(kind) is job:
                del self._joinable[kind]
        return job

    def occupy(self, job: Job) -> None:
        """`job` is being moved: it has connections to its registries."""
        for registry in job.lane:
            self._in_use[registry] = self._in_use.get(registry, 0) + 1

    def vacate(self, job: Job) -> None:
        """`job` is moved no more."""
        for registry in job.lane:
            self._in_use[registry] -= 1

    def _make(self, target: Target) -> Job:
        self._last_id += 1
        job = Job(self._last_id, target.digest, target.size, target.source, [target])
        self._jobs[job.id] = job
        if job.alone:
            self._alone.append(job)
        return job

    def _first_alone(self) -> Job | None:
        job = next((job for job in self._alone if self._has_room(job.lane)), None)
        if job is not None:
            self._alone.remove(job)
        return job

    def _first(self) -> Job | None:
        best: tuple[_Entry, _Lane] | None = None
        for lane in list(self._lanes):
            heap = self._lanes[lane]
            while heap and self._is_stale(heap[0]):
                heapq.heappop(heap)
            if not heap:
                del self._lanes[lane]
            elif (best is None or heap[0] < best[0]) and self._has_room(lane):
                best = (heap[0], lane)
        if best is None:
            return None
        heapq.heappop(self._lanes[best[1]])
        return self._jobs[best[0][1]]

    def _is_stale(self, entry: _Entry) -> bool:
        job = self._jobs.get(entry[1])
        return job is None or len(job.targets) != entry[2]

    def _has_room(self, lane: _Lane) -> bool:
        for registry in set(lane):
            limit = self._limit_of(registry)
            # A registry that is both source and destination needs two; where only one is allowed, one must do.
            if limit is not None and self._in_use.get(registry, 0) + min(lane.count(registry), limit) > limit:
                return False
        return True


def _kind_of(target: Target) -> _Kind:
    """What the targets of one job have in common. The source is, because its failure is that of all of them; the size,
    because a manifest with a wrong one must not fail images whose manifests are right.
    """
    return target.source, target.digest, target.size, target.losses


def _can_join(job: Job, target: Target) -> bool:
    registries = {other.repository.registry for other in job.targets}
    return len(job.targets) < MOST_TARGETS and target.repository.registry not in registries
