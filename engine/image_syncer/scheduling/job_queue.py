"""The queue of jobs: what waits for a worker, and in which order.

Small and streamed jobs wait apart, since they take slots of their own. Small jobs go in this order: mounts (one request
each), then the others as they came, so that images are complete soon. Of streamed jobs the largest go first, so that no
giant ends alone at last. Jobs that need a worker of their own go before all others to an idle worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.scheduling.breaker import BreakerState
from image_syncer.scheduling.job import Entry, Job, Lane

if TYPE_CHECKING:
    from image_syncer.oci import Digest
    from image_syncer.scheduling.blob_set import BlobTarget
    from image_syncer.scheduling.breaker import Breaker
    from image_syncer.scheduling.connections import ConnectionLimits


MOST_TARGETS = 8
"""Destinations fed by one download."""
MOUNTS_FIRST = -(2**64)
"""A rank before every size."""


class JobQueue:
    """See the top of the module. `connections` limits jobs by registry; mounts, and blobs of at most `small_bytes`, are
    small jobs (None: no job is).
    """

    def __init__(self, connections: ConnectionLimits, *, small_bytes: int | None = None) -> None:
        self._connections = connections
        self._small_bytes = small_bytes
        self._joinable: dict[Digest, list[Job]] = {}
        self._lanes: dict[tuple[str, ...], Lane] = {}
        self._busy: tuple[dict[Lane, None], dict[Lane, None]] = ({}, {})
        self._without_mounts: set[str] = set()
        self.alone: list[Job] = []
        """Waiting jobs that need a worker of their own."""
        self.made = 0
        """Jobs made so far, and the id of the last."""
        self.streamed = 0
        """Waiting streamed jobs, and their known bytes."""
        self.streamed_bytes = 0
        self.small = 0
        """Waiting small jobs."""

    def __len__(self) -> int:
        return self.streamed + self.small + len(self.alone)

    def add(self, target: BlobTarget) -> None:
        """Queue `target`: in a job of its own, or in one that brings the same blob from the same source elsewhere."""
        job = None if target.mounts or target.digest not in self._joinable else self._find(target)
        if job is None:
            job = self._make(target)
        else:
            job.targets.append(target)
        lane = job.lane = self.lane_of(job.registries)
        if not job.alone:
            self._enter(job, lane)

    def pop(self, *, small: bool, fair: bool = False) -> Job | None:
        """Remove and return the first job of that kind whose registries have connections to spare; None where there is
        none. With `fair`, count only the share of its kind.
        """
        best: Entry | None = None
        idle: list[Lane] = []
        busy, limited = self._busy[small], self._connections.limited
        for lane in busy:
            first = lane.first(small=small)
            if first is None:
                idle.append(lane)
            elif (best is None or first < best) and (not limited or lane.has_room(small=small, fair=fair)):
                best = first
        for lane in idle:
            del busy[lane]
        return None if best is None else self._take(best[2])

    def pop_alone(self) -> Job | None:
        """Remove and return the first job that needs a worker of its own, where it has connections to spare."""
        for job in self.alone:
            if job.lane is not None and job.lane.has_room(small=job.small):
                return self._take(job)
        return None

    @property
    def largest_streamed(self) -> int:
        """The bytes of the largest waiting streamed job; 0 where there is none."""
        firsts = (lane.first(small=False) for lane in self._busy[False])
        return max((first[2].weight for first in firsts if first is not None), default=0)

    def on_breaker(self, breaker: Breaker) -> None:
        """A registry is down, or is back. While it is down, its jobs are not leased, and jobs that have other targets
        too are made again without it.
        """
        host = self._connections.host(breaker.registry)
        host.down = breaker.state is not BreakerState.CLOSED
        self._connections.limited = self._connections.limited or host.down
        if breaker.state is BreakerState.OPEN:
            shared = [job for job in self._at(breaker.registry) if len(job.targets) > 1]
            for target in [one for job in shared for one in self._take(job).targets]:
                self.add(target)

    def take(self, registry: str) -> list[BlobTarget]:
        """Remove and return all targets of jobs from or to `registry`."""
        return [target for job in self._at(registry) for target in self._take(job).targets]

    def _at(self, registry: str) -> list[Job]:
        lanes = [lane for registries, lane in self._lanes.items() if registry in registries]
        jobs = [job for lane in lanes for job in lane.drain()]
        for job in jobs:
            assert job.lane is not None
            self._enter(job, job.lane)
        return jobs + [job for job in self.alone if registry in job.registries]

    def _enter(self, job: Job, lane: Lane) -> None:
        lane.add(job, -job.weight if job.weight else MOUNTS_FIRST)
        self._busy[job.small][lane] = None

    def learn_mount(self, registry: str, *, mounted: bool) -> None:
        """Note whether `registry` mounted the last time. If not, the next mount is expected to move bytes: a large blob
        then takes a slot for streamed jobs.
        """
        if mounted:
            self._without_mounts.discard(registry)
        else:
            self._without_mounts.add(registry)

    def _make(self, target: BlobTarget) -> Job:
        self.made += 1
        mounts = target.mounts and target.repository.registry not in self._without_mounts
        weight = 0 if mounts else max(target.size, 1)
        small = self._small_bytes is not None and (mounts or 0 <= target.size <= self._small_bytes)
        job = Job(self.made, target.digest, target.size, target.source, [target], small, weight)
        job.waits = True
        if job.alone:
            self.alone.append(job)
        elif small:
            self.small += 1
        else:
            self.streamed += 1
            self.streamed_bytes += weight
        if not target.mounts:
            self._joinable.setdefault(job.digest, []).append(job)
        return job

    def _take(self, job: Job) -> Job:
        job.waits = False
        if job.alone:
            self.alone.remove(job)
        elif job.small:
            self.small -= 1
        else:
            self.streamed -= 1
            self.streamed_bytes -= job.weight
        if not job.targets[0].mounts:
            jobs = self._joinable[job.digest]
            jobs.remove(job)
            if not jobs:
                del self._joinable[job.digest]
        return job

    def _find(self, target: BlobTarget) -> Job | None:
        """The waiting job that `target` can join."""
        for job in self._joinable[target.digest]:
            if _can_join(job, target) and not any(self._is_down(one) for one in (target, *job.targets)):
                return job
        return None

    def _is_down(self, target: BlobTarget) -> bool:
        return self._connections.host(target.repository.registry).down

    def lane_of(self, registries: tuple[str, ...]) -> Lane:
        """The lane of jobs that use these registries, one entry per connection."""
        lane = self._lanes.get(registries)
        if lane is None:
            connections = self._connections
            hosts = tuple((connections.host(one), registries.count(one)) for one in dict.fromkeys(registries))
            lane = self._lanes[registries] = Lane(hosts, registries)
        return lane


def _can_join(job: Job, target: BlobTarget) -> bool:
    """Return whether one download serves both. The source must be the same, since its failure fails all targets; so
    must the size, since a manifest with a wrong size must not fail images whose manifests are right.
    """
    first = job.targets[0]
    known = first.source, first.size, first.losses, first.split
    if known != (target.source, target.size, target.losses, target.split):
        return False
    # Two of one registry are on their way at once only where it does not mount blobs between them.
    repositories = {other.repository for other in job.targets}
    return len(job.targets) < MOST_TARGETS and target.repository not in repositories
