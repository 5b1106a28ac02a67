"""A server in a thread with a loop of its own.

So it answers while a run has its hands full, can tell that the loop of the runs does not turn, and whatever strangers
do to it is no crash of a run: an exception in a task that nobody waits for ends the run on whose loop it happens.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Served", "ServerThread"]

END_S = 5.0


class Served(Protocol):
    """What runs there."""

    async def start(self) -> None:
        """Begin to listen."""

    async def stop(self) -> None:
        """No request is taken any more."""


class ServerThread:
    """Runs `server` from `start` to `stop`."""

    def __init__(self, server: Served, name: str) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        """Returns when it listens. Raises what `HttpServer.start` raises."""
        self._thread.start()
        try:
            self._do(self._server.start())
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """No request is taken any more."""
        self._do(self._close())
        self._end()

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _close(self) -> None:
        await self._server.stop()
        # Nobody gets an answer any more: a task that waits for somebody would only hold up whoever wants to end.
        for task in (left := asyncio.all_tasks() - {asyncio.current_task()}):
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=END_S)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        if not self._thread.is_alive():
            self._loop.close()
