"""The server of a watch in a thread with a loop of its own.

So it answers while a run has its hands full, can tell that the loop of the runs does not turn, and whatever strangers
do to it is no crash of a run: an exception in a task that nobody waits for ends the run on whose loop it happens.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from image_syncer.watch.events import PushedRepository
    from image_syncer.watch.server import Watched, WatchServer
    from image_syncer.watch.status import WatchStatus

__all__ = ["OnItsLoop", "ServerThread"]

TURN_S = 5.0
"""How long a notification waits for a turn of the loop of the runs."""
END_S = 5.0


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


class ServerThread:
    """Runs `server` from `start` to `stop`."""

    def __init__(self, server: WatchServer) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="watch server", daemon=True)

    async def start(self) -> None:
        """Raises what `WatchServer.start` raises."""
        self._thread.start()
        try:
            await self._do(self._server.start())
        except BaseException:
            self._end()
            raise

    async def stop(self) -> None:
        """No request is taken any more."""
        await self._do(self._close())
        self._end()

    async def _do(self, work: Coroutine[None, None, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _close(self) -> None:
        await self._server.stop()
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left, timeout=END_S)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()
