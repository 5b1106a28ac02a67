"""A watch for those who ask it from another loop: its server has a thread of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.watch.events import PushedRepository
    from image_syncer.watch.server import Watched
    from image_syncer.watch.status import WatchStatus

__all__ = ["OnItsLoop"]

TURN_S = 5.0
"""How long a notification waits for a turn of the loop of the runs."""


class OnItsLoop:
    """`watched`, for callers on other loops; its own is the one that runs where this is made."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._loop = asyncio.get_running_loop()

    @property
    def status(self) -> WatchStatus:
        """Only read, and never half written."""
        return self._watched.status

    @property
    def is_ready(self) -> bool:
        """See `Watched`."""
        return self._watched.is_ready

    async def take(self, pushed: Sequence[PushedRepository]) -> int:
        """See `Watched`. Raises asyncio.TimeoutError where its loop does not turn."""
        taken = asyncio.run_coroutine_threadsafe(self._watched.take(pushed), self._loop)
        return await asyncio.wait_for(asyncio.wrap_future(taken), TURN_S)
