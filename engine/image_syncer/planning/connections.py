"""The connections that jobs take: to which hosts, how many these allow, and which of the jobs that wait may have them.

Every job needs one connection to each of its registries, and two where one registry is both source and destination.
What a registry allows is the user's to say; one that refuses (429, 503, connections that it breaks) is given half of
what it refused, one that has become slow a quarter less, and gets more again, bit by bit, while it refuses nothing:
additive growth and multiplicative decrease, as in TCP (RFC 5681). The limits are shared by all workers.

Where requests are paced (`pacing.py`), connections need be no fewer than the rate keeps busy, and more would only wait
for their turns in the slots of others.

Where connections are scarce, small and streamed jobs share them, half and half, so that neither kind waits for the
other; what one of them does not use is the other's.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.errors import TransportError, UnavailableError
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.errors import SyncError
    from image_syncer.planning.job import Job

__all__ = ["Host", "Lane", "Refusal", "refusal_of", "share_of"]

CALM_S = 2.0
"""After a cut, for what was under way and is refused too: that is the same refusal."""
GROWTH_S = 5.0
"""Without a refusal, for a quarter more."""
BROKEN_CONNECTIONS = 3
"""Within `CALM_S`: one may be anybody's fault, so many are a refusal."""
FORGIVEN = 4
"""A host without a limit of the user's has none again at so many times what it refused."""

LEAST_BUSY_S, MOST_BUSY_S = 0.5, 2.0
"""For how long a connection may be busy with one request, where those that are needed are reckoned from a rate."""
LEAST_PACED = 4
"""Connections to a registry that is paced, however slowly."""
_OVERLOADED = 503

FEWEST_WHERE_SLOW = 8
"""Connections to a registry that is only slow: fewer would be slower still."""

_Entry = tuple[int, int, "Job"]
"""In a heap: the rank (the smallest comes first), the job's id, which decides between equals, and the job."""


class Refusal(Value, frozen=True):
    """A registry cannot serve now what it was asked; `broken`: it did not say so, its connection broke."""

    broken: bool


def refusal_of(error: SyncError) -> Refusal | None:
    """The refusal that `error` is; None: it is none."""
    if isinstance(error, TransportError):
        return Refusal(broken=True) if error.phase in ("connect", "send", "receive") else None
    overloaded = isinstance(error, UnavailableError) and error.status == _OVERLOADED
    return Refusal(broken=False) if overloaded else None


def share_of(most: int, *, small: bool) -> int:
    """What one kind may take of `most` while the other waits for them too; the odd one goes to the streamed jobs."""
    return most // 2 if small else most - most // 2


class Host(Struct, eq=False):
    """One registry: `most` connections by the user's word (None: no bound), `allowed` now, and those in use."""

    most: int | None
    streamed: int = 0
    small: int = 0
    floor: int = 1
    ceiling: int | None = None
    width: int | None = None
    down: bool = False
    """Whether it is left alone, because it is down."""
    _refused_at: int = 0
    _calm_at: float = 0.0
    _grows_at: float = 0.0
    _broken: int = 0
    _broken_at: float = 0.0
    allowed: int | None = None

    def __post_init__(self) -> None:
        self.allowed = self.most

    def has_room(self, needed: int, *, small: bool, fair: bool) -> bool:
        """Whether so many connections more may be opened; with `fair` only within the share of that kind of job."""
        allowed = self.allowed
        if allowed is None:
            return True
        # A registry that is both source and destination needs two; where only one is allowed, one must do.
        needed = min(needed, allowed)
        if self.streamed + self.small + needed > allowed:
            return False
        return not fair or (self.small if small else self.streamed) + needed <= share_of(allowed, small=small)

    def refused(self, now: float, *, broken: bool = False) -> bool:
        """A request was refused, or its connection `broken`; whether the host is asked for less from now on."""
        if broken:
            if now >= self._broken_at + CALM_S:
                self._broken, self._broken_at = 0, now
            self._broken += 1
            if self._broken < BROKEN_CONNECTIONS:
                return False
        self._grows_at = now + GROWTH_S
        if now < self._calm_at:
            return False
        self._calm_at = now + CALM_S
        used = self.streamed + self.small + 1  # the one that was refused is counted no more
        if self.allowed is None or used < self.allowed:
            self._refused_at = used
        least = used if self.allowed is None else min(used, self.allowed)
        self.allowed = max(min(self.floor, self.allowed or self.floor), least // 2)
        return True

    def slowed(self, now: float) -> bool:
        """It answers slowly (`latency.py`): a quarter less; whether it is asked for less from now on."""
        used = self.streamed + self.small
        fewer = max(FEWEST_WHERE_SLOW, used * 3 // 4)
        if now < self._calm_at or fewer >= (used if self.allowed is None else self.allowed):
            return False
        self._calm_at = now + CALM_S
        self._grows_at = now + GROWTH_S
        if self.allowed is None:
            self._refused_at = used
        self.allowed = fewer
        return True

    @property
    def bound(self) -> int | None:
        """The most that it may have: by the user's word, and by the rates of requests and of bytes."""
        bounds = [bound for bound in (self.most, self.ceiling, self.width) if bound is not None]
        return min(bounds) if bounds else None

    def pace(self, rate: float | None) -> None:
        """So many requests a second may be sent (None: any number)."""
        before = self.bound
        self.floor = 1 if rate is None else max(1, math.ceil(rate * LEAST_BUSY_S))
        self.ceiling = None if rate is None else max(LEAST_PACED, math.ceil(rate * MOST_BUSY_S))
        self._rebind(before)

    def narrow(self, most: int | None) -> None:
        """So many connections are good for the bytes a second that may move (None: any number)."""
        before = self.bound
        self.width = most
        self._rebind(before)

    def _rebind(self, before: int | None) -> None:
        bound = self.bound
        if self.allowed == before or (bound is not None and (self.allowed is None or self.allowed > bound)):
            self.allowed = bound

    def recover(self, now: float) -> bool:
        """Allow more after a time without refusals; whether it may have all again."""
        bound = self.bound
        while self.allowed is not None and self.allowed != bound and now >= self._grows_at:
            self._grows_at += GROWTH_S
            self.allowed += max(1, self.allowed // 4)
            if bound is not None:
                self.allowed = min(self.allowed, bound)
            elif self.allowed >= FORGIVEN * self._refused_at:
                self.allowed = None
        return self.allowed == bound


class Lane(Struct, eq=False):
    """The jobs that need the same hosts, and wait. `hosts` says how many connections one of them needs to each.

    A job that left, or that got another target and so another lane, leaves an entry behind, which is skipped.
    """

    hosts: tuple[tuple[Host, int], ...]
    registries: tuple[str, ...]
    _streamed: list[_Entry] = field(default_factory=list)
    _mounts: deque[Job] = field(default_factory=deque)
    _small: deque[Job] = field(default_factory=deque)

    def add(self, job: Job, rank: int) -> None:
        """`job` waits; a streamed one after those with a lower `rank`."""
        if not job.small:
            heapq.heappush(self._streamed, (rank, job.id, job))
        elif job.weight:
            self._small.append(job)
        else:
            self._mounts.append(job)

    def first(self, *, small: bool) -> tuple[int, int, Job] | None:
        """The first that waits, with what orders it among the first of other lanes; None where none waits."""
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
        """Whether one more of its jobs can have its connections."""
        for host, needed in self.hosts:
            if host.down or (host.allowed is not None and not host.has_room(needed, small=small, fair=fair)):
                return False
        return True

    def drain(self) -> list[Job]:
        """The jobs that wait, which are taken out."""
        jobs = [entry[2] for entry in self._streamed] + [*self._mounts, *self._small]
        self._streamed.clear()
        self._mounts.clear()
        self._small.clear()
        return [job for job in dict.fromkeys(jobs) if job.waits and job.lane is self]

    def occupy(self, *, small: bool, times: int = 1) -> None:
        """Take the connections of one of its jobs; give them back with `times` -1."""
        for host, needed in self.hosts:
            if small:
                host.small += needed * times
            else:
                host.streamed += needed * times
