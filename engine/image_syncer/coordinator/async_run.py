"""A run as seen from a running event loop, of asyncio or uvloop: awaited, iterated, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import weakref
from typing import TYPE_CHECKING, final

from image_syncer.coordinator.run_thread import RunThread
from image_syncer.coordinator.signals import taken_signals
from image_syncer.telemetry.event_queue import EventQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from types import TracebackType

    from image_syncer.config import Configuration
    from image_syncer.coordinator.run import Run
    from image_syncer.telemetry import Report
    from image_syncer.telemetry.events import Event

__all__ = ["AsyncRun"]

CANCELLED = "cancelled"
"""What the report says of a run that was ended by its user's program (`Report.interrupted`)."""

_TAKEN_IN_A_ROW = 64
"""Events after which the loop gets a turn, however many there are."""


@final
class AsyncRun:
    """One run that goes on beside the event loop in which it is begun. `sync_async` and its siblings make it.

        async with sync_async(configuration, settings) as run:
            async for event in run:
                ...
            report = await run.report()

    or, where only the report is wanted, `report = await sync_async(configuration, settings)`.

    It begins with the block, with the first event that is asked for, or when it is awaited. Who leaves the block before
    the end ends the run, gently: nothing new begins, what is under way is given up, and the report is written; so does
    `interrupt`, and so does cancelling the task that waits here, which takes a few seconds then. Cancelled once more
    meanwhile, it kills the workers and does not wait. No image is ever there in part.

    Events come in order, and none is lost, however slowly they are taken: those of the whole run, in bounded memory. Of
    `ProgressMade` only the newest is kept. Where the run cannot begin, whoever waits gets the ConfigurationError.
    """

    def __init__(
        self,
        make: Callable[[Configuration, Callable[[Event], None] | None], Run],
        open_places: Callable[[], AbstractContextManager[Configuration]],
        *,
        take_signals: bool = False,
    ) -> None:
        self._make = make
        self._open_places = open_places
        self._take_signals = take_signals
        self._thread: RunThread | None = None
        self._inbox: _Inbox | None = None
        self._is_awaited_by_iterator = False
        self._is_error_told = False
        self._taken = 0

    async def __aenter__(self) -> AsyncRun:
        self._begin(with_events=True)
        return self

    async def __aexit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread = self._begin()
        if not thread.ended.done():
            thread.interrupt(CANCELLED)
        await self._until_ended(thread)
        failure = thread.ended.exception() if thread.ended.done() else None
        if failure is not None and error is None and not self._is_error_told:
            raise failure

    def __aiter__(self) -> AsyncRun:
        self._begin(with_events=True)
        return self

    async def __anext__(self) -> Event:
        thread = self._begin(with_events=True)
        if self._is_awaited_by_iterator:
            raise RuntimeError("another task waits for the events of this run: they go to one")
        if self._inbox is None:
            raise RuntimeError("the run was begun without events: ask for them before it is awaited")
        self._is_awaited_by_iterator = True
        try:
            event = await self._next(thread, self._inbox)
        finally:
            self._is_awaited_by_iterator = False
        if event is None:
            self._is_error_told = True
            thread.ended.result()  # raises what the run failed with
            raise StopAsyncIteration
        return event

    def __await__(self) -> Generator[object, None, Report]:
        return self.report().__await__()

    async def report(self) -> Report:
        """What the run did, when it is over. Raises ConfigurationError where it could not begin."""
        thread = self._begin()
        await self._until_ended(thread)
        self._is_error_told = True
        return thread.ended.result()

    def interrupt(self) -> None:
        """End the run early, gently, and return at once; the events go on until `RunEnded`. The report says
        "cancelled". Nothing happens where it has ended.
        """
        self._begin().interrupt(CANCELLED)

    def _begin(self, *, with_events: bool = False) -> RunThread:
        if self._thread is not None:
            return self._thread
        loop = asyncio.get_running_loop()
        inbox = self._inbox = _Inbox(loop) if with_events else None
        make, on_event = self._make, inbox.put if inbox is not None else None
        thread = self._thread = RunThread(lambda opened: make(opened, on_event), self._open_places)
        # Nobody can ask any more, as when a loop over the events was left and there is no block.
        weakref.finalize(self, thread.interrupt, CANCELLED).atexit = False
        if inbox is not None:
            thread.ended.add_done_callback(inbox.wake)
            weakref.finalize(self, inbox.queue.close).atexit = False
        thread.start()
        if self._take_signals:
            taken = contextlib.ExitStack()
            taken.enter_context(taken_signals(loop, _on_signal(thread)))
            asyncio.wrap_future(thread.ended).add_done_callback(lambda _ended: taken.close())
        return thread

    async def _next(self, thread: RunThread, inbox: _Inbox) -> Event | None:
        """None: there are no more."""
        self._taken += 1
        try:
            if self._taken % _TAKEN_IN_A_ROW == 0:
                await asyncio.sleep(0)
            while True:
                ended = thread.ended.done()  # before the look into the queue: nothing comes after that
                inbox.arm()
                event = inbox.queue.take()
                if event is not None or ended:
                    return event
                await inbox.woken.wait()
        except asyncio.CancelledError:
            thread.interrupt(CANCELLED)
            await self._until_ended(thread)
            raise

    async def _until_ended(self, thread: RunThread) -> None:
        """Waits; cancelled, it ends the run gently and waits for that, and cancelled again, it waits no more."""
        ended = asyncio.wrap_future(thread.ended)
        try:
            await asyncio.wait({ended})
        except asyncio.CancelledError:
            thread.interrupt(CANCELLED)
            try:
                await asyncio.wait({ended})
            except asyncio.CancelledError:
                thread.hurry()
            raise
        finally:
            if ended.done():
                ended.exception()  # it is told by `thread.ended`


class _Inbox:
    """Where the thread of the run puts events, and wakes the loop that waits for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_armed = False
        self.queue = EventQueue()
        self.woken = asyncio.Event()

    def arm(self) -> None:
        """From here on, whatever is put in wakes."""
        self.woken.clear()
        self._is_armed = True

    def put(self, event: Event) -> None:
        """Called in the thread of the run."""
        self.queue.put(event)
        self.wake()

    def wake(self, _ended: Future[Report] | None = None) -> None:
        """There is something to be seen; from any thread."""
        if self._is_armed:
            self._is_armed = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self.woken.set)


def _on_signal(thread: RunThread) -> Callable[[signal.Signals], None]:
    taken: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        if taken:
            thread.hurry()
            os._exit(128 + number)
        taken.append(number)
        thread.interrupt(signal.Signals(number).name)

    return on_signal
