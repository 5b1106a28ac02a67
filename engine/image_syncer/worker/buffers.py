"""Windows: the memory of the rings and of small blobs, made once and used again."""

from __future__ import annotations

import mmap

from image_syncer.net import Gate

__all__ = ["Windows"]


class Windows:
    """Hands out buffers of `window_bytes`, at most `most` at a time: whoever comes later waits for one.

    They are anonymous maps, so that a window of which a small blob touches one page costs one page.
    """

    def __init__(self, window_bytes: int, most: int) -> None:
        self._window_bytes = window_bytes
        self._gate = Gate(most)
        self._free: list[mmap.mmap] = []

    async def lend(self) -> mmap.mmap:
        """A window; its content is whatever the last user left."""
        if not self._gate.try_enter():
            await self._gate.enter()
        return self._free.pop() if self._free else mmap.mmap(-1, self._window_bytes)

    def give_back(self, window: mmap.mmap) -> None:
        """Take a window back; no view of it may be left."""
        self._free.append(window)
        self._gate.leave()

    def close(self) -> None:
        """Free all windows that are not lent."""
        for window in self._free:
            window.close()
        self._free.clear()
