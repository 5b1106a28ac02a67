"""Windows: the memory of the rings and of small blobs, made once and used again."""

from __future__ import annotations

import mmap

from image_syncer.errors import SyncError
from image_syncer.net import InFlightLimit
from image_syncer.units import format_size

__all__ = ["Windows"]


class Windows:
    """Hands out buffers of `window_bytes`, at most `most` at a time: whoever comes later waits for one.

    They are anonymous maps, so that a window of which a small blob touches one page costs one page. Where the machine
    has no memory for one more, the others have to be enough.
    """

    def __init__(self, window_bytes: int, most: int) -> None:
        self._window_bytes = window_bytes
        self._in_flight = InFlightLimit(most)
        self._free: list[mmap.mmap] = []
        self._lent = 0

    async def lend(self) -> mmap.mmap:
        """A window; its content is whatever the last user left. Raises SyncError where there is no memory for any."""
        while True:
            if not self._in_flight.try_enter():
                await self._in_flight.enter()
            try:
                window = self._free.pop() if self._free else mmap.mmap(-1, self._window_bytes)
            except (OSError, MemoryError) as error:
                if self._lent:
                    continue  # the place is not given back: there is one window less than planned
                self._in_flight.leave()
                raise SyncError(
                    f"there is no memory for a window of {format_size(self._window_bytes)}: {error}",
                    hint="Give the run more memory, or let it use less: --memory, --window, --workers.",
                    retryable=True,
                ) from None
            self._lent += 1
            return window

    def give_back(self, window: mmap.mmap) -> None:
        """Take a window back; no view of it may be left."""
        self._lent -= 1
        self._free.append(window)
        self._in_flight.leave()

    def close(self) -> None:
        """Free all windows that are not lent."""
        for window in self._free:
            window.close()
        self._free.clear()
