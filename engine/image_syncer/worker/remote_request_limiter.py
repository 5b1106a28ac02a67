"""A worker's turns at registries that are paced: it asks the coordinator, which has the one bucket for all."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from image_syncer.worker.pacing_messages import AllowanceTold, Refused, RequestsWanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.net import Throttle
    from image_syncer.registry import Allowance
    from image_syncer.worker.messages import LeaveAlone
    from image_syncer.worker.pacing_messages import Paced, RequestsGranted

__all__ = ["RemoteRequestLimiter"]

LOW_PART = 0.2
"""Of what a registry allows: what is left is told to the coordinator when it is no more than that."""


class RemoteRequestLimiter:
    """See `image_syncer.net.RequestLimiter`. What is wanted within one turn of the loop goes into one message.

    A registry that is to be left alone for longer than `longest_wait_s` is waited for by nobody here.
    """

    def __init__(
        self,
        throttle: Throttle,
        say: Callable[[RequestsWanted | Refused | AllowanceTold], None],
        *,
        longest_wait_s: float,
    ) -> None:
        self._throttle = throttle
        self._say = say
        self._longest_wait_s = longest_wait_s
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._unsaid: dict[str, int] = {}
        self._told: set[str] = set()
        throttle.turns = self

    async def take(self, registry: str) -> None:
        """See `RequestLimiter`."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(registry, deque()).append(turn)
        self._want(registry, 1)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.done() or turn.cancelled():
                self._want(registry, -1)
            raise

    def refused(self, registry: str, retry_after_s: float | None) -> None:
        """See `RequestLimiter`. What comes next waits for the coordinator, which knows for how long."""
        self._throttle.pace(registry)
        if retry_after_s:
            self._pause(registry, retry_after_s)
        self._say(Refused(registry, retry_after_s))

    def published(self, bucket: str, per_s: float) -> None:
        """See `RequestLimiter`. The coordinator has spoken to the registry before any worker, and has told them."""

    def told(self, registry: str, allowance: Allowance) -> None:
        """See `RequestLimiter`. The coordinator hears it once, and whenever little is left."""
        low = allowance.remaining is not None and allowance.remaining <= (allowance.limit or 0) * LOW_PART
        if low or registry not in self._told:
            self._told.add(registry)
            self._say(
                AllowanceTold(registry, allowance.limit, allowance.window_s, allowance.remaining, allowance.reset_s)
            )

    def on_given(self, message: RequestsGranted) -> None:
        """The coordinator gave turns."""
        self._let_go(message.registry, message.turns)

    def on_paced(self, message: Paced) -> None:
        """A registry is paced from now on, or no more."""
        self._throttle.pace(message.registry, paced=message.paced)
        if not message.paced:
            self._let_go(message.registry)

    def on_leave_alone(self, message: LeaveAlone) -> None:
        """Somebody was told to leave a registry alone."""
        self._pause(message.registry, message.seconds)

    def _pause(self, registry: str, seconds: float) -> None:
        if self._throttle.hold(registry, seconds, self._loop.time()) > self._longest_wait_s:
            given_up = self._let_go(registry)
            if given_up:
                self._want(registry, -given_up)

    def _want(self, registry: str, turns: int) -> None:
        if not self._unsaid:
            self._loop.call_soon(self._say_wanted)
        self._unsaid[registry] = self._unsaid.get(registry, 0) + turns

    def _say_wanted(self) -> None:
        wanted, self._unsaid = self._unsaid, {}
        for registry, turns in wanted.items():
            if turns:
                self._say(RequestsWanted(registry, turns))

    def _let_go(self, registry: str, most: int | None = None) -> int:
        """Wake those who have waited longest, but those that wait no more; returns how many."""
        waiting = self._waiting.get(registry, ())
        woken = 0
        while waiting and woken != most:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                woken += 1
        return woken
