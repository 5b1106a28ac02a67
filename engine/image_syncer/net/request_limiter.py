"""Rate limits of requests: pauses, turns at paced registries, and a limit of requests in flight.

The coordinator has one bucket for each paced registry, for itself and for all workers. It hands turns out one by one
to each asker in a cycle, so that no asker waits behind everything that another one wants. A turn is a moment, not a
permit: the turn of a worker that has died is not missing afterwards.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from image_syncer.errors import NotAskedError
from image_syncer.scheduling import Pacer
from image_syncer.units import format_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.registry import Allowance


SHORTEST_PAUSE_S = 1.0
"""The pause for a registry that names no duration, or a shorter one."""
OURSELVES = 0
"""The asker of the coordinator's own requests; a worker's is its number."""
LOW_PART = 0.1
"""A registry's remaining requests are spread over its window when fewer than this part of them are left."""


class RequestLimiter(Protocol):
    """Grants turns for requests to registries that are paced (`scheduling/pacing.py`).

    Each registry has a bucket of its name; operations with a limit of their own have one more (`Limit.bucket`).
    """

    async def take(self, registry: str) -> None:
        """Wait for a turn; return without one during a long pause."""

    def refused(self, registry: str, retry_after_s: float | None) -> None:
        """Pace a registry that answered 429, after the pause that it asks for."""

    def published(self, bucket: str, per_s: float) -> None:
        """Pace `bucket` by the rate that the registry publishes for it."""

    def told(self, registry: str, allowance: Allowance) -> None:
        """Pace a registry by what it says of its limit in an answer."""


class Throttle:
    """The registries that are paused, and those that are paced; times in seconds of the caller's clock.

    `turns` grants the turns; without it, no registry is paced.
    """

    def __init__(self, turns: RequestLimiter | None = None) -> None:
        self.turns = turns
        self.watched: set[str] = set()
        """Registries whose requests need `wait_for_turn`."""
        self._until: dict[str, float] = {}
        self._paced: set[str] = set()
        self._waiting: Counter[str] = Counter()

    def wait_s(self, registry: str, now: float) -> float:
        """The rest of the pause of `registry`; 0 where it has none."""
        until = self._until.get(registry)
        return 0.0 if until is None else max(0.0, until - now)

    def longest(self, now: float) -> tuple[str, float] | None:
        """The registry with the longest pause left, and its seconds; None where none is paused."""
        waits = ((until - now, registry) for registry, until in self._until.items() if until > now)
        longest = max(waits, default=None)
        return None if longest is None else (longest[1], longest[0])

    def pause(self, registry: str, seconds: float | None, now: float) -> float:
        """Pause `registry` as it asks, for `SHORTEST_PAUSE_S` at least; return the pause from now, in seconds."""
        return self.hold(registry, max(SHORTEST_PAUSE_S, seconds or 0.0), now)

    def hold(self, registry: str, seconds: float, now: float) -> float:
        """Pause `registry` for `seconds`, or longer where it is paused already; return the pause from now."""
        self._until[registry] = max(self._until.get(registry, 0.0), now + seconds)
        self.watched.add(registry)
        return self._until[registry] - now

    def pace(self, registry: str, *, paced: bool = True) -> None:
        """Begin or end to give each request to `registry` a turn."""
        if paced:
            self._paced.add(registry)
            self.watched.add(registry)
        else:
            self._paced.discard(registry)

    def waits_within(self, registry: str) -> bool:
        """Return whether a request waits for a turn in a bucket of some operations of `registry`."""
        return any(count and bucket.startswith(f"{registry} ") for bucket, count in self._waiting.items())

    async def wait_for_turn(self, registry: str, longest_wait_s: float) -> None:
        """Sleep through the pause of `registry`, then wait for a turn where it is paced.

        Raises NotAskedError for a pause beyond `longest_wait_s`, in which each request would be refused again.
        """
        loop = asyncio.get_running_loop()
        self._waiting[registry] += 1
        try:
            while registry in self.watched:
                if wait := self.wait_s(registry, loop.time()):
                    if wait > longest_wait_s:
                        raise NotAskedError(
                            f"the registry {registry} asked for a pause of {format_duration(wait)}",
                            hint="Run it again then, or ask the registry for a higher limit.",
                            retry_after_s=wait,
                        )
                    await asyncio.sleep(wait)  # the pause may be prolonged meanwhile
                elif self.turns is None or registry not in self._paced:
                    self.watched.discard(registry)
                else:
                    await self.turns.take(registry)
                    if not self.wait_s(registry, loop.time()):
                        return
        finally:
            self._waiting[registry] -= 1


class _Registry(Struct, eq=False):
    pacer: Pacer
    wanted: dict[int, int] = field(default_factory=dict)
    """Turns by asker, in the order in which the askers get them."""
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    """The coordinator's own requests."""
    timer: asyncio.TimerHandle | None = None


class LimiterEvents(Value, frozen=True):
    """What a `LocalRequestLimiter` calls: to give turns to a worker, and to tell all workers of pauses and pacing.

    `on_refused(registry, rate)` gets each refusal that is news, with the rate that follows, in requests a second.
    """

    on_given: Callable[[int, str, int], None]
    on_paused: Callable[[str, float], None]
    on_paced: Callable[[str, bool], None]
    on_refused: Callable[[str, float], None] = lambda _registry, _rate: None


class LocalRequestLimiter:
    """The coordinator's `RequestLimiter`. Requests do not wait for pauses beyond `longest_wait_s`.

    `asked()` returns the latest rate of requests to all registries together. `most` has the user's limits in requests
    a second by registry, which are paced from the first request on.
    """

    def __init__(
        self,
        throttle: Throttle,
        *,
        longest_wait_s: float,
        events: LimiterEvents,
        asked: Callable[[], float] = lambda: 0.0,
        most: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._throttle = throttle
        self._longest_wait_s = longest_wait_s
        self._events = events
        self._asked = asked
        self._loop = asyncio.get_running_loop()
        self._registries: dict[str, _Registry] = {}
        self._allowed: dict[str, float] = {}
        throttle.turns = self
        self._most = most
        for registry in most:
            self._paced(registry)

    @property
    def pacers(self) -> dict[str, Pacer]:
        """The pacers of the registries that are paced now."""
        return {name: registry.pacer for name, registry in self._registries.items()}

    async def take(self, registry: str) -> None:
        """See `RequestLimiter`."""
        paced = self._registries.get(registry)
        if paced is None:
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        paced.waiting.append(turn)
        self.want(OURSELVES, registry, 1)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.done() or turn.cancelled():
                self.want(OURSELVES, registry, -1)
            raise

    def want(self, asker: int, registry: str, turns: int) -> None:
        """Add `turns`, which may be negative, to what `asker` wants."""
        paced = self._registries.get(registry)
        if paced is None:
            if turns > 0 and asker != OURSELVES:
                self._events.on_given(asker, registry, turns)  # the worker does not know yet that pacing has ended
            return
        wanted = paced.wanted.get(asker, 0) + turns
        if wanted > 0:
            paced.wanted[asker] = wanted
            self._pump(registry, paced)
        else:
            paced.wanted.pop(asker, None)

    def forget(self, asker: int) -> None:
        """Drop what a worker wanted that has ended."""
        for paced in self._registries.values():
            paced.wanted.pop(asker, None)

    def refused(self, registry: str, retry_after_s: float | None) -> None:
        """See `RequestLimiter`."""
        now = self._loop.time()
        pacer = self._paced(registry).pacer
        before = pacer.paused_s(now)
        rate, events = pacer.rate, pacer.events
        pause = pacer.refused(retry_after_s, now)
        if pacer.events != events:
            self._events.on_refused(registry, min(rate, pacer.rate))
        if pause > before:
            self._pause(registry, pause)

    def published(self, bucket: str, per_s: float) -> None:
        """See `RequestLimiter`."""
        self._allowed.setdefault(bucket, per_s)
        self._paced(bucket)

    def told(self, registry: str, allowance: Allowance) -> None:
        """See `RequestLimiter`. A window longer than the longest wait is used up until the registry refuses."""
        now = self._loop.time()
        per_s, reset_s, remaining = allowance.per_s, allowance.reset_s, allowance.remaining
        if per_s is not None and (allowance.window_s or 0.0) <= self._longest_wait_s:
            self._allowed[registry] = per_s
        if remaining is None or not reset_s or reset_s > self._longest_wait_s:
            return
        if remaining <= 0:
            pacer = self._paced(registry).pacer
            if reset_s > pacer.paused_s(now):
                pacer.leave_alone(reset_s, now)
                self._pause(registry, reset_s)
        elif allowance.limit and remaining <= allowance.limit * LOW_PART:
            self._paced(registry).pacer.spread(remaining, reset_s, now)

    def _paced(self, registry: str) -> _Registry:
        paced = self._registries.get(registry)
        if paced is None:
            pacer = Pacer(
                self._loop.time(),
                allowed=self._allowed.get(registry),
                asked=0.0 if registry in self._most else self._asked(),
                most=self._most.get(registry),
            )
            paced = self._registries[registry] = _Registry(pacer)
            self._throttle.pace(registry)
            self._events.on_paced(registry, True)
        return paced

    def _pause(self, registry: str, seconds: float) -> None:
        self._throttle.hold(registry, seconds, self._loop.time())
        self._events.on_paused(registry, seconds)
        if seconds > self._longest_wait_s:
            paced = self._registries[registry]
            paced.wanted.pop(OURSELVES, None)
            _let_go(paced.waiting)

    def _pump(self, registry: str, paced: _Registry) -> None:
        """Hand out the turns that are available, and set the timer for the next one."""
        now = self._loop.time()
        if turns := paced.pacer.take(sum(paced.wanted.values()), now):
            self._hand_out(registry, paced, turns)
        if paced.pacer.is_free:
            self._free(registry, paced)
        elif paced.wanted and paced.timer is None:
            paced.timer = self._loop.call_at(now + paced.pacer.wait_s(now), self._on_timer, registry, paced)

    def _on_timer(self, registry: str, paced: _Registry) -> None:
        paced.timer = None
        if paced.wanted:
            self._pump(registry, paced)

    def _hand_out(self, registry: str, paced: _Registry, turns: int) -> None:
        given: dict[int, int] = {}
        wanted = paced.wanted
        for _ in range(turns):
            asker = next(iter(wanted))
            left = wanted.pop(asker) - 1
            if left:
                wanted[asker] = left  # behind the others
            given[asker] = given.get(asker, 0) + 1
        for asker, count in given.items():
            if asker == OURSELVES:
                _let_go(paced.waiting, count)
            else:
                self._events.on_given(asker, registry, count)

    def _free(self, registry: str, paced: _Registry) -> None:
        del self._registries[registry]
        if paced.timer is not None:
            paced.timer.cancel()
        self._throttle.pace(registry, paced=False)
        self._events.on_paced(registry, False)
        if paced.wanted:
            self._hand_out(registry, paced, sum(paced.wanted.values()))


def _let_go(waiting: deque[asyncio.Future[None]], most: int | None = None) -> None:
    """Wake the `most` requests that have waited longest (None: all)."""
    while waiting and most != 0:
        turn = waiting.popleft()
        if not turn.done():
            turn.set_result(None)
            most = None if most is None else most - 1
