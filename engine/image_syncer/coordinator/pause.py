"""Whether a run may begin more: it can be paused and resumed, or drained, so that what is in flight ends and nothing
more begins.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Pause"]


class Pause:
    """The pause of one run; must be made inside a loop."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._drained = asyncio.Event()
        self.turned_away = False
        """Whether something was not begun because the run is drained."""

    @property
    def is_paused(self) -> bool:
        """Whether what is to be begun has to wait."""
        return not self._free.is_set()

    @property
    def is_draining(self) -> bool:
        """Whether nothing more is begun at all."""
        return self._drained.is_set()

    def __str__(self) -> str:
        return "drains" if self.is_draining else "paused" if self.is_paused else ""

    def pause(self) -> None:
        """Let nothing begin until `resume`; what drains need not wait."""
        if not self.is_draining:
            self._free.clear()

    def resume(self) -> None:
        """Let things begin again."""
        self._free.set()

    def drain(self) -> None:
        """Let nothing begin any more; this cannot be taken back."""
        self._drained.set()
        self._free.set()

    async def may_begin(self) -> bool:
        """Waits while the run is paused; False where it is drained, and the caller does not begin."""
        if self.is_paused:
            await self._free.wait()
        self.turned_away |= self.is_draining
        return not self.is_draining

    async def unless_drained(self, work: Coroutine[Any, Any, None]) -> None:
        """`work`, which is cancelled where the run is drained meanwhile."""
        tasks = asyncio.ensure_future(work), asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if tasks[0].done() and not tasks[0].cancelled():
            tasks[0].result()
