"""Limits of bandwidth: token buckets for bytes per second, and grants to the askers. Pure: time is an argument.

Each direction (from sources, to destinations) has one bucket for the whole run, and one for each registry with a limit.
A process that moves bytes asks for an allowance for one registry and one direction, gets a quantum from all its
buckets, spends it, and asks again, behind those that already wait. What is granted counts as spent; what is not needed
is given back.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from image_syncer.config import RateSchedule


QUANTUM_S = 0.01
"""One grant has the bytes of this time: at most 100 messages per second and direction."""
LEAST_QUANTUM_BYTES, MOST_QUANTUM_BYTES = 4 * 2**10, 16 * 2**20
FREE_QUANTUM_BYTES = 512 * 2**10
"""One grant while there is no limit; what is left of it when a limit begins still moves, in each worker."""
DEPTH_S = 0.2
LEAST_STREAM_BYTES_PER_S = 64 * 2**10
"""A registry may take a slower stream for idle: then fewer at a time are better."""


FEWEST_STREAMS = 2
ENOUGH_STREAMS = 512
"""A rate that is enough for so many streams does not limit them."""


EVERYWHERE = ""
"""Stands for all registries."""


def streams_for(bytes_per_s: float | None) -> int | None:
    """The streams for which a rate is enough; None: any number. At least two, since small blobs are received whole
    before they are sent, and one by one would leave each direction idle half of the time.
    """
    if bytes_per_s is None or bytes_per_s >= ENOUGH_STREAMS * LEAST_STREAM_BYTES_PER_S:
        return None
    return max(FEWEST_STREAMS, int(bytes_per_s / LEAST_STREAM_BYTES_PER_S))


def metered(run: RateSchedule | None, registries: Mapping[str, RateSchedule]) -> tuple[str, ...]:
    """The registries whose bytes are counted, since they have a limit at some time; or `EVERYWHERE`."""
    return (EVERYWHERE,) if run is not None else tuple(registries)


class ByteBucket:
    """Bytes that may move at `rate` per second (None: no limit). It begins empty, and holds a fifth of a second."""

    __slots__ = ("_level", "_seen_at", "rate")

    def __init__(self, rate: float | None, now: float) -> None:
        self.rate = rate
        self._level = 0.0
        self._seen_at = now

    @property
    def quantum(self) -> int:
        """The bytes of one grant."""
        if self.rate is None:
            return MOST_QUANTUM_BYTES
        return max(LEAST_QUANTUM_BYTES, min(MOST_QUANTUM_BYTES, int(self.rate * QUANTUM_S)))

    def change(self, rate: float | None, now: float) -> None:
        """Change the rate."""
        self._advance(now)
        self.rate = rate
        self._level = 0.0 if rate is None else min(self._level, self._depth)

    def wait_s(self, size: int, now: float) -> float:
        """The time until it has `size` bytes; 0 where it has them now."""
        self._advance(now)
        if self.rate is None or self._level >= size:
            return 0.0
        return (size - self._level) / self.rate

    def take(self, size: int) -> None:
        """Take `size` bytes, which it has; a negative number gives them back."""
        if self.rate is not None:
            self._level = min(self._level - size, self._depth)

    @property
    def _depth(self) -> float:
        return max(2.0 * self.quantum, (self.rate or 0.0) * DEPTH_S)

    def _advance(self, now: float) -> None:
        if self.rate is not None:
            self._level = min(self._depth, self._level + (now - self._seen_at) * self.rate)
        self._seen_at = now


class Grant(Value, frozen=True):
    """`asker` may move `size` more bytes from `registry` or, with `sending`, to it."""

    asker: int
    registry: str
    sending: bool
    size: int


class Bandwidth:
    """All buckets of a run, and the askers that wait. `run` is the limit of all registries together, `registries` have
    their own; None: no limit. `local` is the local time, by which rates change.
    """

    def __init__(
        self, run: RateSchedule | None, registries: Mapping[str, RateSchedule], local: datetime, now: float
    ) -> None:
        self._run = run
        self._registries = registries
        self._buckets: dict[tuple[str | None, bool], ByteBucket] = {}
        for registry in (None, *registries):
            rate = self._scheduled(registry, local)
            for sending in (False, True):
                self._buckets[registry, sending] = ByteBucket(rate, now)
        self._waiting: dict[tuple[int, str, bool], None] = {}

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit, now or at another time."""
        return self._run is not None or bool(self._registries)

    @property
    def is_waited_for(self) -> bool:
        """Whether an asker waits."""
        return bool(self._waiting)

    def rate(self, registry: str | None) -> float | None:
        """The limit of `registry` now, or of all together (None); None: no limit of its own."""
        bucket = self._buckets.get((registry, False))
        return None if bucket is None else bucket.rate

    def change(self, run: RateSchedule | None) -> None:
        """Change the limit of all registries together, from the next `retime` on."""
        self._run = run

    def retime(self, local: datetime, now: float) -> bool:
        """Apply the rates of that time; return whether one changed."""
        changed = False
        for (registry, _), bucket in self._buckets.items():
            rate = self._scheduled(registry, local)
            if rate != bucket.rate:
                bucket.change(rate, now)
                changed = True
        return changed

    def want(self, asker: int, registry: str, *, sending: bool) -> None:
        """`asker` has used up its bytes."""
        self._waiting.setdefault((asker, registry, sending))

    def give_back(self, registry: str, sending: bool, size: int) -> None:
        """An asker does not need so many of its granted bytes."""
        for bucket in self._concerned(registry, sending):
            bucket.take(-size)

    def forget(self, asker: int) -> None:
        """`asker` has ended."""
        self._waiting = {key: None for key in self._waiting if key[0] != asker}

    def grants(self, now: float) -> list[Grant]:
        """Grant what can be granted now, once for each asker."""
        granted, closed = [], set()
        for key in list(self._waiting):
            asker, registry, sending = key
            if sending in closed:
                continue
            whole, *own = buckets = list(self._concerned(registry, sending))
            size = self._quantum(registry, buckets)
            if whole.wait_s(size, now) > 0:
                closed.add(sending)  # no other goes before it, however little it needs
                continue
            if own and own[0].wait_s(size, now) > 0:
                continue  # it keeps its place, and others do not wait for its registry
            for bucket in buckets:
                bucket.take(size)
            del self._waiting[key]
            granted.append(Grant(asker, registry, sending, size))
        return granted

    def wait_s(self, now: float) -> float:
        """The time until the next grant; infinity where no asker waits."""
        soonest = inf
        for _, registry, sending in self._waiting:
            buckets = list(self._concerned(registry, sending))
            size = self._quantum(registry, buckets)
            soonest = min(soonest, max(bucket.wait_s(size, now) for bucket in buckets))
        return soonest

    def _quantum(self, registry: str, buckets: list[ByteBucket]) -> int:
        """The bytes of one grant from `buckets`; those without a limit do not count."""
        limited = [bucket.quantum for bucket in buckets if bucket.rate is not None]
        if limited:
            return min(limited)
        return MOST_QUANTUM_BYTES if self._run is None and registry not in self._registries else FREE_QUANTUM_BYTES

    def _concerned(self, registry: str, sending: bool) -> Iterator[ByteBucket]:
        yield self._buckets[None, sending]
        if (own := self._buckets.get((registry, sending))) is not None:
            yield own

    def _scheduled(self, registry: str | None, local: datetime) -> float | None:
        schedule = self._run if registry is None else self._registries[registry]
        return None if schedule is None else schedule.rate_at(local)
