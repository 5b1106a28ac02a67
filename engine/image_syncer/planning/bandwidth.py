"""How many bytes a second may move: token buckets, and who gets what there is in them. Pure: time comes in as an
argument, in seconds; rates are bytes a second.

Bytes are counted where they leave and enter libcurl, in each direction by itself: those that come from sources, and
those that go to destinations. Each direction has one bucket for the whole run, and one for each registry with a limit
of its own. Whoever moves bytes (a worker, or the coordinator) asks for an *allowance* for one registry and one
direction, gets a quantum from all the buckets that it concerns, spends it, and asks again, behind those who wait
already. A quantum is a hundredth of a second's worth, so that all get equal parts, and nobody bursts.

What was granted counts as spent: exact is the sum of what was granted, and what somebody does not need any more is
given back. A bucket holds a fifth of a second's worth, so that whoever asks a little late loses nothing, and nobody can
make up for more than that.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from image_syncer.config import RateSchedule

__all__ = ["EVERYWHERE", "Bandwidth", "ByteBucket", "Grant", "metered", "streams_for"]

QUANTUM_S = 0.01
"""Of the rate, in one grant: at most 100 messages a second and direction."""
LEAST_QUANTUM_BYTES, MOST_QUANTUM_BYTES = 4 * 2**10, 16 * 2**20
FREE_QUANTUM_BYTES = 512 * 2**10
"""In one grant while there is no limit: what is left of it when one begins moves in spite of it, in each worker."""
DEPTH_S = 0.2
LEAST_STREAM_BYTES_PER_S = 64 * 2**10
"""A stream that is slower than this is one that its registry may take for idle: then fewer at a time are better."""


FEWEST_STREAMS = 2
ENOUGH_STREAMS = 512
"""A rate that is good for so many blobs at a time does not bound them."""


def streams_for(bytes_per_s: float | None) -> int | None:
    """How many blobs at a time a rate is good for; None: any number. Two at least: small blobs are received whole
    before they are sent, and one by one they would leave each direction idle half of the time.
    """
    if bytes_per_s is None or bytes_per_s >= ENOUGH_STREAMS * LEAST_STREAM_BYTES_PER_S:
        return None
    return max(FEWEST_STREAMS, int(bytes_per_s / LEAST_STREAM_BYTES_PER_S))


EVERYWHERE = ""
"""Stands for all registries."""


def metered(run: RateSchedule | None, registries: Mapping[str, RateSchedule]) -> tuple[str, ...]:
    """The registries whose bytes are counted, since there is a limit at some time; or `EVERYWHERE`."""
    return (EVERYWHERE,) if run is not None else tuple(registries)


class ByteBucket:
    """Bytes that may move at `rate` (None: any number). It begins empty."""

    __slots__ = ("_level", "_seen_at", "rate")

    def __init__(self, rate: float | None, now: float) -> None:
        self.rate = rate
        self._level = 0.0
        self._seen_at = now

    @property
    def quantum(self) -> int:
        """What is taken at once."""
        if self.rate is None:
            return MOST_QUANTUM_BYTES
        return max(LEAST_QUANTUM_BYTES, min(MOST_QUANTUM_BYTES, int(self.rate * QUANTUM_S)))

    def change(self, rate: float | None, now: float) -> None:
        """The rate is another from now on."""
        self._advance(now)
        self.rate = rate
        self._level = 0.0 if rate is None else min(self._level, self._depth)

    def wait_s(self, size: int, now: float) -> float:
        """How long until it has `size` bytes; 0 where it has them now."""
        self._advance(now)
        if self.rate is None or self._level >= size:
            return 0.0
        return (size - self._level) / self.rate

    def take(self, size: int) -> None:
        """Take `size` bytes, which are there; a negative number is given back."""
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
    """`asker` may move `size` bytes more from `registry` or, where `sending`, to it."""

    asker: int
    registry: str
    sending: bool
    size: int


class Bandwidth:
    """All buckets of a run, and who waits for them. `run` is the rate of all registries together, `registries` have
    theirs; None: no limit. `local` is the local time of the machine, by which rates change.
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
        """Whether somebody has nothing left, and waits."""
        return bool(self._waiting)

    def rate(self, registry: str | None) -> float | None:
        """What is in force now for `registry`, or for all together (None); None: no limit of its own."""
        bucket = self._buckets.get((registry, False))
        return None if bucket is None else bucket.rate

    def change(self, run: RateSchedule | None) -> None:
        """All registries together have another rate; in force with the next `retime`."""
        self._run = run

    def retime(self, local: datetime, now: float) -> bool:
        """See which rates are in force at that time; whether one is another than before."""
        changed = False
        for (registry, _), bucket in self._buckets.items():
            rate = self._scheduled(registry, local)
            if rate != bucket.rate:
                bucket.change(rate, now)
                changed = True
        return changed

    def want(self, asker: int, registry: str, *, sending: bool) -> None:
        """`asker` has used up what it had."""
        self._waiting.setdefault((asker, registry, sending))

    def give_back(self, registry: str, size: int, *, sending: bool) -> None:
        """Somebody does not need so much of what it was granted."""
        for bucket in self._concerned(registry, sending):
            bucket.take(-size)

    def forget(self, asker: int) -> None:
        """Somebody is gone."""
        self._waiting = {key: None for key in self._waiting if key[0] != asker}

    def grants(self, now: float) -> list[Grant]:
        """What can be granted now, each asker once; whoever got something waits no more."""
        granted, closed = [], set()
        for key in list(self._waiting):
            asker, registry, sending = key
            if sending in closed:
                continue
            whole, *own = buckets = list(self._concerned(registry, sending))
            size = self._quantum(registry, buckets)
            if whole.wait_s(size, now) > 0:
                closed.add(sending)  # nobody goes before it, however little would be enough
                continue
            if own and own[0].wait_s(size, now) > 0:
                continue  # it keeps its place, and the others do not wait for its registry
            for bucket in buckets:
                bucket.take(size)
            del self._waiting[key]
            granted.append(Grant(asker, registry, sending, size))
        return granted

    def wait_s(self, now: float) -> float:
        """How long until the next grant; infinite where nobody waits."""
        soonest = inf
        for _, registry, sending in self._waiting:
            buckets = list(self._concerned(registry, sending))
            size = self._quantum(registry, buckets)
            soonest = min(soonest, max(bucket.wait_s(size, now) for bucket in buckets))
        return soonest

    def _quantum(self, registry: str, buckets: list[ByteBucket]) -> int:
        """What is taken at once from each of `buckets`: those without a limit do not make it smaller."""
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
