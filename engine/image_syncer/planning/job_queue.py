"""The queue of jobs: what waits for a worker, in which order, and which registries have connections to spare.

Small and streamed jobs wait apart, since they take slots of their own. Of the small ones, those that only mount come
first (they cost one request), then each in the order of its wanting, so that images are whole soon. Of the streamed,
the largest come first, so that no giant is left alone at the end. Jobs that need a worker of their own are a third
kind: they go before all others to one that holds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.planning.breaker import BreakerState
from image_syncer.planning.connections import Host, Lane
from image_syncer.planning.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Digest
    from image_syncer.planning.blob_set import Target
    from image_syncer.planning.breaker import Breaker

__all__ = ["JobQueue"]

MOST_TARGETS = 8
"""Destinations fed by one download."""
MOUNTS_FIRST = -(2**64)
"""Ranks before every size."""


class JobQueue:
    """See the essay at the top of the module. `limit_of` bounds the connections of a registry (None: no bound); blobs
    of at most `small_bytes`, and mounts, are small jobs (None: no job is).
    """

    def __init__(self, limit_of: Callable[[str], int | None], *, small_bytes: int | None = None) -> None:
        self._limit_of = limit_of
        self._small_bytes = small_bytes
        self._joinable: dict[Digest, list[Job]] = {}
        self._hosts: dict[str, Host] = {}
        self._lanes: dict[tuple[str, ...], Lane] = {}
        self._busy: tuple[dict[Lane, None], dict[Lane, None]] = ({}, {})
        self._alone: list[Job] = []
        self._refusing: set[Host] = set()
        self._without_mounts: set[str] = set()
        self.made = 0
        """Jobs made so far; the id of the last."""
        self.streamed = 0
        """Streamed jobs that wait for a slot, and their known bytes."""
        self.streamed_bytes = 0
        self.small = 0
        """Small jobs that wait for a slot."""
        self.limited = False
        """Whether some registry allows only so many connections."""

    def __len__(self) -> int:
        return self.streamed + self.small + len(self._alone)

    def add(self, target: Target) -> None:
        """`target` waits for a worker: in a job of its own, or in one that brings the same blob from the same source
        to other registries.
        """
        job = None if target.mounts else self._find(target)
        if job is None:
            job = self._make(target)
        else:
            job.targets.append(target)
        lane = job.lane = self._lane_of(job.registries)
        if not job.alone:
            self._enter(job, lane)

    def pop(self, *, small: bool, fair: bool = False) -> Job | None:
        """The first job of that kind whose registries have connections to spare (with `fair`: within the share of its
        kind); None where there is none. It waits no more, and nothing joins it.
        """
        best: tuple[int, int, Job] | None = None
        idle: list[Lane] = []
        busy = self._busy[small]
        for lane in busy:
            first = lane.first(small=small)
            if first is None:
                idle.append(lane)
            elif (best is None or first < best) and lane.has_room(small=small, fair=fair):
                best = first
        for lane in idle:
            del busy[lane]
        if best is None:
            return None
        return self._take(best[2])

    def pop_alone(self) -> Job | None:
        """The same of the jobs that need a worker of their own."""
        for job in self._alone:
            if job.lane is not None and job.lane.has_room(small=job.small):
                return self._take(job)
        return None

    @property
    def largest_streamed(self) -> int:
        """The bytes of the largest streamed job that waits; 0 where there is none."""
        firsts = (lane.first(small=False) for lane in self._busy[False])
        return max((first[2].weight for first in firsts if first is not None), default=0)

    @property
    def has_alone(self) -> bool:
        """Whether a job waits that needs a worker of its own."""
        return bool(self._alone)

    def occupy(self, job: Job) -> None:
        """`job` is being moved: it has connections to its registries."""
        if job.lane is None or len(job.lane.registries) != 1 + len(job.targets):
            job.lane = self._lane_of(job.registries)
        job.lane.occupy(small=job.small)

    def vacate(self, job: Job) -> None:
        """`job` is moved no more."""
        if job.lane is not None:
            job.lane.occupy(small=job.small, times=-1)

    def refused(self, registry: str, now: float, *, broken: bool = False) -> bool:
        """A registry refused a request, or broke its connection; whether it is asked for less from now on."""
        host = self._host_of(registry)
        if not host.refused(now, broken=broken):
            return False
        self._refusing.add(host)
        self.limited = True
        return True

    def slowed(self, registry: str, now: float) -> bool:
        """A registry answers slowly; whether it is asked for less from now on."""
        host = self._host_of(registry)
        if not host.slowed(now):
            return False
        self._refusing.add(host)
        self.limited = True
        return True

    def pace(self, registry: str, rate: float | None) -> None:
        """A registry may be asked so many times a second now (None: as often as one likes)."""
        host = self._host_of(registry)
        host.pace(rate)
        self.limited = self.limited or host.allowed is not None

    def narrow(self, registry: str, most: int | None) -> None:
        """A registry may have so many connections now, since it may move only so many bytes (None: any number)."""
        host = self._host_of(registry)
        host.narrow(most)
        self.limited = self.limited or host.allowed is not None

    def connections(self) -> dict[str, int | None]:
        """How many connections each registry allows now; None: any number."""
        return {registry: host.allowed for registry, host in self._hosts.items()}

    def recover(self, now: float) -> None:
        """Give registries that refused something more again, when it is time."""
        if self._refusing:
            self._refusing = {host for host in self._refusing if not host.recover(now)}

    def on_breaker(self, breaker: Breaker) -> None:
        """A registry is down, or is back: while it is down, nothing goes there or comes from there, and blobs that
        others wait for too go to these without it.
        """
        self._host_of(breaker.registry).down = breaker.state is not BreakerState.CLOSED
        if breaker.state is BreakerState.OPEN:
            shared = [job for job in self._at(breaker.registry) if len(job.targets) > 1]
            for target in [one for job in shared for one in self._take(job).targets]:
                self.add(target)

    def take(self, registry: str) -> list[Target]:
        """All that waits for `registry`, which waits no more."""
        return [target for job in self._at(registry) for target in self._take(job).targets]

    def _at(self, registry: str) -> list[Job]:
        """The jobs that wait for `registry`."""
        lanes = [lane for registries, lane in self._lanes.items() if registry in registries]
        jobs = [job for lane in lanes for job in lane.drain()]
        for job in jobs:
            assert job.lane is not None
            self._enter(job, job.lane)
        return jobs + [job for job in self._alone if registry in job.registries]

    def _enter(self, job: Job, lane: Lane) -> None:
        lane.add(job, -job.weight if job.weight else MOUNTS_FIRST)
        self._busy[job.small][lane] = None

    def learn_mount(self, registry: str, *, mounted: bool) -> None:
        """Whether `registry` mounts what it is asked to. Where it did not the last time, the next are expected to move
        bytes: a large blob then takes a slot among the streamed.
        """
        if mounted:
            self._without_mounts.discard(registry)
        else:
            self._without_mounts.add(registry)

    def _make(self, target: Target) -> Job:
        self.made += 1
        mounts = target.mounts and target.repository.registry not in self._without_mounts
        weight = 0 if mounts else max(target.size, 1)
        small = self._small_bytes is not None and (mounts or 0 <= target.size <= self._small_bytes)
        job = Job(self.made, target.digest, target.size, target.source, [target], small, weight)
        job.waits = True
        if job.alone:
            self._alone.append(job)
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
            self._alone.remove(job)
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

    def _find(self, target: Target) -> Job | None:
        """The job that `target` can join."""
        for job in self._joinable.get(target.digest, ()):
            if _can_join(job, target) and not any(self._is_down(one) for one in (target, *job.targets)):
                return job
        return None

    def _is_down(self, target: Target) -> bool:
        host = self._hosts.get(target.repository.registry)
        return host is not None and host.down

    def _lane_of(self, registries: tuple[str, ...]) -> Lane:
        lane = self._lanes.get(registries)
        if lane is None:
            hosts = tuple(
                (self._host_of(registry), registries.count(registry)) for registry in dict.fromkeys(registries)
            )
            lane = self._lanes[registries] = Lane(hosts, registries)
        return lane

    def _host_of(self, registry: str) -> Host:
        host = self._hosts.get(registry)
        if host is None:
            host = self._hosts[registry] = Host(self._limit_of(registry))
            self.limited = self.limited or host.most is not None
        return host


def _can_join(job: Job, target: Target) -> bool:
    """Whether one download does for both. The source must be the same, because its failure is that of all targets; the
    size, because a manifest with a wrong one must not fail images whose manifests are right.
    """
    first = job.targets[0]
    if (first.source, first.size, first.losses) != (target.source, target.size, target.losses):
        return False
    if first.split is not target.split:
        return False
    # Two of one registry are on their way at once only where it does not mount blobs between them.
    repositories = {other.repository for other in job.targets}
    return len(job.targets) < MOST_TARGETS and target.repository not in repositories
