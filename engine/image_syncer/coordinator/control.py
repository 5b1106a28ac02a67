"""The control of a run while it goes on: paused, drained, faster or slower, and what went wrong so far.

It is made before the run and handed to it; who has it calls it from any thread, and so does the socket
(`control_socket.py`) for those in other processes. Where several runs follow each other with one control, as the rounds
of a watch do, each begins as the one before was left: paused, and with the rate and the streams that were asked for.

A turn of a run's loop, for callers in other threads.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from image_syncer.config import RateSchedule
    from image_syncer.coordinator.pause import Pause
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.coordinator.watchdog import Watchdog
    from image_syncer.planning.foreseen import Foreseen
    from image_syncer.telemetry import ImageResult, Snapshot

__all__ = ["Rounds", "RunControl", "in_loop"]


TURN_S = 10.0
"""How long a loop may take to give a turn: one that stands still for so long has other worries."""

_T = TypeVar("_T")


def in_loop(loop: asyncio.AbstractEventLoop | None, act: Callable[[], _T]) -> _T:
    """What `act` returns, which is called in `loop`, whichever thread asks. Where it is None or closed, nothing is
    under way that could be disturbed, and `act` is called here. Raises TimeoutError where the loop gives no turn.
    """
    with contextlib.suppress(RuntimeError):
        if asyncio.get_running_loop() is loop:
            loop = None
    if loop is None:
        return act()
    done: Future[_T] = Future()

    def turn() -> None:
        try:
            done.set_result(act())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            done.set_exception(error)

    try:
        loop.call_soon_threadsafe(turn)
    except RuntimeError:  # closed
        return act()
    try:
        return done.result(TURN_S)
    except FutureTimeoutError:  # before Python 3.11 it is not the builtin one
        if done.done():
            raise  # by what was asked for itself
        raise TimeoutError(f"the run gave no turn within {TURN_S:.0f} s") from None


_log = get_logger(__name__)


class Rounds(Protocol):
    """Several runs that follow each other, as in a watch."""

    @property
    def is_draining(self) -> bool:
        """Whether no further one begins."""

    def drain(self) -> None:
        """Begin no further one."""

    def as_data(self) -> dict[str, Any]:
        """How they stand, for those who look on while none is under way."""


class RunControl:
    """Controls one run at a time, from any thread. `socket` is where others may send commands (None: nowhere); a socket
    that cannot be made is told in the logs, and the run goes on without. `on_hurry` is called just before a second
    signal ends the process at once. `foreseen` is how the run was foreseen to go, if it was (`bench.Foresight`): its
    time left is reckoned from that too. Commands that come while no run is under way hold for the next, but for
    `drain`, which ends `rounds` where there are some.
    """

    def __init__(self, socket: str | None = None) -> None:
        self.socket = socket
        self.rounds: Rounds | None = None
        self.on_hurry: Callable[[], None] | None = None
        self.foreseen: Foreseen | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last_troubles: list[tuple[str, str]] = []
        self._is_paused = False
        self._rate: tuple[RateSchedule | None] | None = None
        self._streams: int | None = None
        self._pause: Pause | None = None
        self._transfers: Transfers | None = None
        self._watchdog: Watchdog | None = None
        self._take: Callable[[float], Snapshot] | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the run is paused."""
        return self._is_paused

    @property
    def is_draining(self) -> bool:
        """Whether the run ends with what is under way."""
        if self._pause is not None and self._pause.is_draining:
            return True
        return self.rounds is not None and self.rounds.is_draining

    def pause(self) -> None:
        """Begin no further image and no further blob. Blobs that are under way end: a registry forgets an upload that
        stands still, and what was moved would have to be moved again.
        """
        in_loop(self._loop, lambda: self._change_pause(paused=True))

    def resume(self) -> None:
        """Go on after `pause`."""
        in_loop(self._loop, lambda: self._change_pause(paused=False))

    def drain(self) -> None:
        """Begin no further image; the run ends when those that are under way have ended. Ends a pause, too, and a watch
        with the round that is under way, or at once.
        """
        in_loop(self._loop, self._drain)

    def change_rate(self, rate: RateSchedule | None) -> None:
        """Move no more than `rate` from now on, instead of `Settings.rate`; None: as much as can be."""
        in_loop(self._loop, lambda: self._change_rate(rate))

    def change_streams(self, most: int) -> int:
        """Stream no more than `most` blobs at a time in each worker; returns what is in force, which is no more than
        there was room for when the run began. Raises ValueError where it is less than one.
        """
        if most < 1:
            raise ValueError("a worker streams one blob at least")
        return in_loop(self._loop, lambda: self._change_streams(most))

    def snapshot(self) -> Snapshot | None:
        """The run now; None where none is under way."""
        return in_loop(self._loop, self._snapshot)

    def errors(self) -> list[tuple[str, str]]:
        """The last things that went wrong in the run, oldest first: when (ISO 8601), and what. While none is under way,
        in the one before.
        """
        return in_loop(self._loop, self._errors)

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
        self, pause: Pause, transfers: Transfers, watchdog: Watchdog, take: Callable[[float], Snapshot]
    ) -> AsyncIterator[None]:
        """It controls this run as long as this is entered; the socket is open then."""
        self._pause, self._transfers, self._watchdog, self._take = pause, transfers, watchdog, take
        self._set_pause()
        if self._rate is not None:
            transfers.change_rate(self._rate[0])
        if self._streams is not None:
            transfers.bind_streams(self._streams)
        try:
            async with self.open():
                yield
        finally:
            self._last_troubles = self._errors()
            self._pause = self._transfers = self._watchdog = self._take = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """The socket is open as long as this is entered, over all runs that begin meanwhile in this loop."""
        if self._loop is not None:
            yield
            return
        self._loop, server = asyncio.get_running_loop(), None
        if self.socket is not None:
            from image_syncer.coordinator.control_socket import ControlSocket

            server = await ControlSocket(self, self.socket).open()
        try:
            yield
        finally:
            self._loop = None
            if server is not None:
                await server.close()

    def _change_pause(self, *, paused: bool) -> None:
        self._is_paused = paused
        self._set_pause()

    def _drain(self) -> None:
        self._change_pause(paused=False)
        if self._pause is None and self.rounds is None:
            return
        _log.info("drained")
        if self._pause is not None:
            self._pause.drain()
        if self.rounds is not None:
            self.rounds.drain()

    def _change_rate(self, rate: RateSchedule | None) -> None:
        self._rate = (rate,)
        if self._transfers is not None:
            self._transfers.change_rate(rate)

    def _change_streams(self, most: int) -> int:
        self._streams = most
        if self._transfers is None:
            return most
        self._transfers.bind_streams(most)
        return self._transfers.scheduler.streams_bound

    def _snapshot(self) -> Snapshot | None:
        return None if self._take is None else self._take(asyncio.get_running_loop().time())

    def _errors(self) -> list[tuple[str, str]]:
        return self._last_troubles if self._transfers is None else list(self._transfers.running.load.troubles)

    def _set_pause(self) -> None:
        if self._pause is None or self._transfers is None or self._watchdog is None:
            return
        if self._is_paused != self._pause.is_paused:
            _log.info("paused" if self._is_paused else "goes on after a pause")
        if self._is_paused:
            self._pause.pause()
        else:
            self._pause.resume()
        self._is_paused = self._pause.is_paused
        self._watchdog.paused = self._is_paused
        self._transfers.hold(held=self._is_paused)
