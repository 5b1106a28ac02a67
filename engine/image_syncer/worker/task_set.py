"""TaskSet: the named tasks of one blob's way, of which none is forgotten and none outlives it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["TaskSet"]


class TaskSet:
    """Tasks by name. `on_crash` is told an exception that one of them has ended with: an internal error."""

    def __init__(self, on_crash: Callable[[BaseException], None]) -> None:
        self._on_crash = on_crash
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, name: str) -> bool:
        """Whether it is under way; one that has just ended may not be forgotten yet."""
        task = self._tasks.get(name)
        return task is not None and not task.done()

    def spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Begin `work`."""
        task = self._loop.create_task(work)
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._on_end(name, done))

    def stop(self, name: str) -> None:
        """Break it off, if it is under way and not the one that asks."""
        task = self._tasks.pop(name, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def clear(self, *, wait_for: str) -> None:
        """Wait for those whose names begin with `wait_for`, and break off the others."""
        awaited = [task for name, task in self._tasks.items() if name.startswith(wait_for)]
        if awaited:
            await asyncio.wait(awaited)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _on_end(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and (crash := task.exception()) is not None:
            self._on_crash(crash)
