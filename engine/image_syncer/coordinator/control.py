"""The control of a run while it goes on: paused, drained, faster or slower, and what went wrong so far.

It is made before the run and handed to it; who has it calls it from the run's loop (`on_progress` is called there), and
so does the socket (`control_socket.py`) for those in other processes. Where several runs follow each other with one
control, each begins as the one before was left: paused, and with the rate and the streams that were asked for.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from image_syncer.config import RateSchedule
    from image_syncer.coordinator.hold import Hold
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.coordinator.watchdog import Watchdog
    from image_syncer.telemetry import ImageResult, Snapshot

__all__ = ["RunControl"]

_log = get_logger(__name__)


class RunControl:
    """Controls one run at a time. `socket` is where others may send commands (None: nowhere); a socket that cannot be
    made is told in the logs, and the run goes on without. `on_hurry` is called just before a second signal ends the
    process at once. Commands that come while no run is under way hold for the next, but for `drain`.
    """

    def __init__(self, socket: str | None = None) -> None:
        self.socket = socket
        self.on_hurry: Callable[[], None] | None = None
        self._is_paused = False
        self._rate: tuple[RateSchedule | None] | None = None
        self._streams: int | None = None
        self._hold: Hold | None = None
        self._transfers: Transfers | None = None
        self._dog: Watchdog | None = None
        self._take: Callable[[float], Snapshot] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the run is paused."""
        return self._is_paused

    @property
    def is_draining(self) -> bool:
        """Whether the run ends with what is under way."""
        return self._hold is not None and self._hold.is_draining

    def pause(self) -> None:
        """Begin no further image and no further blob. Blobs that are under way end: a registry forgets an upload that
        stands still, and what was moved would have to be moved again.
        """
        self._is_paused = True
        self._set_pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._is_paused = False
        self._set_pause()

    def drain(self) -> None:
        """Begin no further image; the run ends when those that are under way have ended. Ends a pause, too."""
        self._is_paused = False
        self._set_pause()
        if self._hold is not None:
            _log.info("drained")
            self._hold.drain()

    def change_rate(self, rate: RateSchedule | None) -> None:
        """Move no more than `rate` from now on, instead of `Settings.rate`; None: as much as can be."""
        self._rate = (rate,)
        if self._transfers is not None:
            self._transfers.change_rate(rate)

    def change_streams(self, most: int) -> int:
        """Stream no more than `most` blobs at a time in each worker; returns what is in force, which is no more than
        there was room for when the run began. Raises ValueError where it is less than one.
        """
        if most < 1:
            raise ValueError("a worker streams one blob at least")
        self._streams = most
        if self._transfers is None:
            return most
        self._transfers.bind_streams(most)
        return self._transfers.scheduler.streams_bound

    def snapshot(self) -> Snapshot | None:
        """The run now; None where none is under way."""
        return None if self._take is None else self._take(asyncio.get_running_loop().time())

    def errors(self) -> list[tuple[str, str]]:
        """The last things that went wrong in the run, oldest first: when (ISO 8601), and what."""
        return [] if self._transfers is None else list(self._transfers.running.load.troubles)

    def hurry(self) -> None:
        """The process is about to end."""
        if self.on_hurry is not None:
            self.on_hurry()

    def listening(self, on_image: Callable[[ImageResult], None] | None) -> Callable[[ImageResult], None]:
        """`on_image`, and what `errors` has to know of each image that ends."""

        def listen(result: ImageResult) -> None:
            if result.outcome.is_failure and self._transfers is not None:
                text = f"{result.outcome}: {result.source} → {result.destination}: {result.reason or ''}"
                self._transfers.running.load.tell(text)
            if on_image is not None:
                on_image(result)

        return listen

    @asynccontextmanager
    async def of(
        self, hold: Hold, transfers: Transfers, dog: Watchdog, take: Callable[[float], Snapshot]
    ) -> AsyncIterator[None]:
        """It controls this run as long as this is entered; the socket is open then."""
        self._hold, self._transfers, self._dog, self._take = hold, transfers, dog, take
        self._set_pause()
        if self._rate is not None:
            transfers.change_rate(self._rate[0])
        if self._streams is not None:
            transfers.bind_streams(self._streams)
        server = None
        if self.socket is not None:
            from image_syncer.coordinator.control_socket import ControlSocket

            server = await ControlSocket(self, self.socket).open()
        try:
            yield
        finally:
            if server is not None:
                await server.close()
            self._hold = self._transfers = self._dog = self._take = None

    def _set_pause(self) -> None:
        if self._hold is None or self._transfers is None or self._dog is None:
            return
        if self._is_paused != self._hold.is_paused:
            _log.info("paused" if self._is_paused else "goes on after a pause")
        if self._is_paused:
            self._hold.pause()
        else:
            self._hold.resume()
        self._is_paused = self._hold.is_paused
        self._dog.paused = self._is_paused
        self._transfers.hold(held=self._is_paused)
