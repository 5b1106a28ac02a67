"""The turns of paced registries: one bucket for each, in the coordinator, for itself and for all workers.

Who wants turns says how many; as they come they go round, one for each who waits, so that none of them waits behind all
that another wants. A turn is a moment and no permit: one whose worker has died is not missing afterwards.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.planning import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.net.throttle import Throttle
    from image_syncer.registry import Allowance

__all__ = ["OURSELVES", "LocalRequestLimiter"]

OURSELVES = 0
"""Who asks for the coordinator's own requests; workers have their numbers."""
LOW_PART = 0.1
"""Of what a registry allows within its window: with so little left, it is made to last."""


_NO_BOUNDS: Mapping[str, float] = MappingProxyType({})


class _Registry(Struct, eq=False):
    pacer: Pacer
    wanted: dict[int, int] = field(default_factory=dict)
    """By who asks, in the order in which they get theirs."""
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Our own requests."""
    timer: asyncio.TimerHandle | None = None


class LocalRequestLimiter:
    """The coordinator's `RequestLimiter`. Pauses beyond `longest_wait_s` are not waited for.

    `on_given(worker, registry, turns)` hands turns to a worker; `on_paused(registry, seconds)` and
    `on_paced(registry, paced)` are for all of them; `on_refused(registry, rate)` is told each refusal that says
    something new, with the rate that follows from it, in requests a second; `asked()` says at which rate all registries
    together were asked lately. `most` has the user's bounds, in requests a second by registry: these are paced from the
    first request on.
    """

    def __init__(
        self,
        throttle: Throttle,
        *,
        longest_wait_s: float,
        on_given: Callable[[int, str, int], None],
        on_paused: Callable[[str, float], None],
        on_paced: Callable[[str, bool], None],
        on_refused: Callable[[str, float], None] = lambda _registry, _rate: None,
        asked: Callable[[], float] = lambda: 0.0,
        most: Mapping[str, float] = _NO_BOUNDS,
    ) -> None:
        self._throttle = throttle
        self._longest_wait_s = longest_wait_s
        self._on_given = on_given
        self._on_paused = on_paused
        self._on_paced = on_paced
        self._on_refused = on_refused
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
        """The registries that are paced now."""
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
        """`asker` wants so many turns more, or fewer."""
        paced = self._registries.get(registry)
        if paced is None:
            if turns > 0 and asker != OURSELVES:
                self._on_given(asker, registry, turns)  # it is paced no more, and the worker has yet to hear that
            return
        wanted = paced.wanted.get(asker, 0) + turns
        if wanted > 0:
            paced.wanted[asker] = wanted
            self._pump(registry, paced)
        else:
            paced.wanted.pop(asker, None)

    def forget(self, asker: int) -> None:
        """A worker is gone."""
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
            self._on_refused(registry, min(rate, pacer.rate))
        if pause > before:
            self._pause(registry, pause)

    def published(self, bucket: str, per_s: float) -> None:
        """See `RequestLimiter`."""
        self._allowed.setdefault(bucket, per_s)
        self._paced(bucket)

    def told(self, registry: str, allowance: Allowance) -> None:
        """See `RequestLimiter`. What lasts longer than we would wait is used up, and then refused."""
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
            self._on_paced(registry, True)
        return paced

    def _pause(self, registry: str, seconds: float) -> None:
        self._throttle.hold(registry, seconds, self._loop.time())
        self._on_paused(registry, seconds)
        if seconds > self._longest_wait_s:
            paced = self._registries[registry]
            paced.wanted.pop(OURSELVES, None)
            _let_go(paced.waiting)

    def _pump(self, registry: str, paced: _Registry) -> None:
        """Give what turns there are, and come back when there is one more."""
        now = self._loop.time()
        turns = paced.pacer.take(sum(paced.wanted.values()), now)
        if turns:
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
                self._on_given(asker, registry, count)

    def _free(self, registry: str, paced: _Registry) -> None:
        del self._registries[registry]
        if paced.timer is not None:
            paced.timer.cancel()
        self._throttle.pace(registry, paced=False)
        self._on_paced(registry, False)
        if paced.wanted:
            self._hand_out(registry, paced, sum(paced.wanted.values()))


def _let_go(waiting: deque[asyncio.Future[None]], most: int | None = None) -> None:
    """Wake those who have waited longest, but those that wait no more."""
    while waiting and most != 0:
        turn = waiting.popleft()
        if not turn.done():
            turn.set_result(None)
            most = None if most is None else most - 1
