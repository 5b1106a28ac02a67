"""Connections to registries: how many each registry allows, and how many jobs use.

Every job needs one connection to each of its registries, and two where one registry is both source and destination. The
limits are shared by all workers. They follow additive increase and multiplicative decrease, as in TCP (RFC 5681): a
registry that refuses (429, 503, broken connections) gets half of what it refused, a slow one a quarter less, and both
get more again while they refuse nothing. Where requests are paced (`pacing.py`), more connections than the rate keeps
busy are not needed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.errors import TransportError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.errors import SyncError


CALM_S = 2.0
"""After a cut, further refusals belong to requests that were under way: they count as the same refusal."""
GROWTH_S = 5.0
"""Time without a refusal after which the limit grows by a quarter."""
BROKEN_CONNECTIONS = 3
"""Broken connections within `CALM_S` that count as a refusal; one alone may have another cause."""
FORGIVEN = 4
"""A host without a limit of the user loses its limit again at this multiple of what it refused."""
LEAST_BUSY_S, MOST_BUSY_S = 0.5, 2.0
"""How long one request may keep a connection busy: from these and a rate follow the connections that are needed."""
LEAST_PACED = 4
"""Connections to a registry that is paced, however slowly."""
FEWEST_WHERE_SLOW = 8
"""Connections to a registry that is only slow: fewer would be slower still."""
_OVERLOADED = 503


def is_refusal(error: SyncError) -> bool:
    """Whether `error` says that a registry cannot serve more requests now."""
    return isinstance(error, UnavailableError) and error.status == _OVERLOADED


def is_broken_connection(error: SyncError) -> bool:
    """Whether `error` is a connection that broke, or that could not be made."""
    return isinstance(error, TransportError) and error.phase in ("connect", "send", "receive")


def share_of(most: int, *, small: bool) -> int:
    """The part of `most` for one kind of jobs while both kinds wait; streamed jobs get the odd one."""
    return most // 2 if small else most - most // 2


class ConnectionHost(Struct, eq=False):
    """The connections of one registry: `most` by the user's limit (None: no limit), `allowed` now, and those that are
    `held` by streamed and by small jobs.
    """

    most: int | None
    held: list[int] = field(default_factory=lambda: [0, 0])
    down: bool = False
    """Whether its breaker is not closed."""
    allowed: int | None = None
    _floor: int = 1
    _ceiling: int | None = None
    _width: int | None = None
    _refused_at: int = 0
    _calm_at: float = 0.0
    _grows_at: float = 0.0
    _broken: int = 0
    _broken_at: float = 0.0

    def __post_init__(self) -> None:
        self.allowed = self.most

    def has_room(self, needed: int, *, small: bool, fair: bool) -> bool:
        """Return whether `needed` more connections may be opened. With `fair`, count only the share of this kind."""
        allowed = self.allowed
        if allowed is None:
            return True
        # A registry that is both source and destination needs two; where only one is allowed, one must do.
        needed = min(needed, allowed)
        if sum(self.held) + needed > allowed:
            return False
        return not fair or self.held[small] + needed <= share_of(allowed, small=small)

    def refused(self, now: float, *, broken: bool = False) -> bool:
        """Note a refused request or a `broken` connection; return whether the limit was lowered."""
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
        used = sum(self.held) + 1  # the refused one is no longer counted
        if self.allowed is None or used < self.allowed:
            self._refused_at = used
        least = used if self.allowed is None else min(used, self.allowed)
        self.allowed = max(min(self._floor, self.allowed or self._floor), least // 2)
        return True

    def slowed(self, now: float) -> bool:
        """Note that it answers slowly (`LatencyWatch`); return whether the limit was lowered, by a quarter."""
        used = sum(self.held)
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
        """The most that may be allowed: by the user's limit, and by the rates of requests and of bytes."""
        return min((one for one in (self.most, self._ceiling, self._width) if one is not None), default=None)

    def pace(self, rate: float | None) -> None:
        """Limit to what `rate` requests per second keep busy (None: no such limit)."""
        before = self.bound
        self._floor = 1 if rate is None else max(1, math.ceil(rate * LEAST_BUSY_S))
        self._ceiling = None if rate is None else max(LEAST_PACED, math.ceil(rate * MOST_BUSY_S))
        self._rebind(before)

    def narrow(self, most: int | None) -> None:
        """Limit to `most` connections, which follow from a limit of bandwidth (None: no such limit)."""
        before = self.bound
        self._width = most
        self._rebind(before)

    def _rebind(self, before: int | None) -> None:
        bound = self.bound
        if self.allowed == before or (bound is not None and (self.allowed is None or self.allowed > bound)):
            self.allowed = bound

    def recover(self, now: float) -> bool:
        """Allow more after a time without refusals; return whether everything is allowed again."""
        bound = self.bound
        while self.allowed is not None and self.allowed != bound and now >= self._grows_at:
            self._grows_at += GROWTH_S
            self.allowed += max(1, self.allowed // 4)
            if bound is not None:
                self.allowed = min(self.allowed, bound)
            elif self.allowed >= FORGIVEN * self._refused_at:
                self.allowed = None
        return self.allowed == bound


class ConnectionLimits:
    """The hosts of a run. `limit_of(registry)` is the user's limit of connections (None: no limit)."""

    def __init__(self, limit_of: Callable[[str], int | None] = lambda _registry: None) -> None:
        self._limit_of = limit_of
        self._hosts: dict[str, ConnectionHost] = {}
        self.refusing: set[ConnectionHost] = set()
        """Those that do not allow everything again yet; nearly always none."""
        self.limited = False
        """Whether some registry has a limit, or was down; else no job waits for connections."""

    def host(self, registry: str) -> ConnectionHost:
        """The host of `registry`."""
        host = self._hosts.get(registry)
        if host is None:
            host = self._hosts[registry] = ConnectionHost(self._limit_of(registry))
            self.limited = self.limited or host.most is not None
        return host

    def allowed(self) -> dict[str, int | None]:
        """The connections that each registry allows now; None: no limit."""
        return {registry: host.allowed for registry, host in self._hosts.items()}

    def refused(self, registry: str, now: float, *, broken: bool = False) -> bool:
        """Note a refused request or a `broken` connection; return whether the limit was lowered."""
        host = self.host(registry)
        return host.refused(now, broken=broken) and self._lowered(host)

    def slowed(self, registry: str, now: float) -> bool:
        """Note that a registry answers slowly; return whether the limit was lowered."""
        host = self.host(registry)
        return host.slowed(now) and self._lowered(host)

    def _lowered(self, host: ConnectionHost) -> bool:
        self.refusing.add(host)
        self.limited = True
        return True

    def pace(self, registry: str, rate: float | None) -> None:
        """Limit a registry to what `rate` requests per second keep busy (None: no such limit)."""
        host = self.host(registry)
        host.pace(rate)
        self.limited = self.limited or host.allowed is not None

    def narrow(self, registry: str, most: int | None) -> None:
        """Limit a registry to `most` connections, which follow from a limit of bandwidth (None: no such limit)."""
        host = self.host(registry)
        host.narrow(most)
        self.limited = self.limited or host.allowed is not None

    def recover(self, now: float) -> None:
        """Allow registries that refused something more again, when it is time."""
        if self.refusing:
            self.refusing = {host for host in self.refusing if not host.recover(now)}
