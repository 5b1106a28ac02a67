"""Windows: the memory of the rings, made once and used again."""

from __future__ import annotations

import mmap

__all__ = ["Windows"]


class Windows:
    """Hands out buffers of `window_bytes`; at most as many exist as were lent at one time.

    They are anonymous maps, so that a window of which a small blob touches one page costs one page.
    """

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._free: list[mmap.mmap] = []

    def lend(self) -> mmap.mmap:
        """A window; its content is whatever the last user left."""
        return self._free.pop() if self._free else mmap.mmap(-1, self._window_bytes)

    def give_back(self, window: mmap.mmap) -> None:
        """Take a window back; no view of it may be left."""
        self._free.append(window)

    def close(self) -> None:
        """Free all windows that are not lent."""
        for window in self._free:
            window.close()
        self._free.clear()
