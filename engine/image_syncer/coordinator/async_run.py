"""A run as seen from a running event loop, of asyncio or uvloop: awaited, iterated, cancelled.

A run in a thread and a loop of its own: whatever the loop of its user does meanwhile, nobody waits for that.

A loop that stands still for half a minute would look to the watchdog like a run in which nothing moves; and what the
run does with its own loop (exception handlers, above all) is nothing for a loop that others use, too.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import signal
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, final

from image_syncer.coordinator.loop import run_in_loop
from image_syncer.coordinator.signals import taken_signals
from image_syncer.telemetry.event_queue import EventQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from image_syncer.config import Configuration
    from image_syncer.coordinator.run import Run
    from image_syncer.telemetry import Report
    from image_syncer.telemetry.events import Event

__all__ = ["AsyncRun", "RunThread"]


EXIT_S = 10.0
"""How long the interpreter waits at its exit for a run that nobody has waited for."""


class RunThread:
    """Runs what `make` makes, which is called in the thread with the configuration that `open_places` gives as long as
    it is entered. `ended` gets the report, or what the run failed with.
    """

    def __init__(
        self, make: Callable[[Configuration], Run], open_places: Callable[[], AbstractContextManager[Configuration]]
    ) -> None:
        self._make = make
        self._open_places = open_places
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run: Run | None = None
        self._interrupted_by: str | None = None
        self._is_hurried = False
        self.ended: Future[Report] = Future()
        self.ended.set_running_or_notify_cancel()  # from here on nobody who waits for it can cancel it

    def start(self) -> None:
        """Begin the run, in the context (contextvars) of the caller."""
        context = contextvars.copy_context()
        # A daemon, so that the interpreter can exit: see `_end_at_exit`.
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="image-syncer", daemon=True)
        atexit.register(self._end_at_exit)
        self._thread.start()

    def interrupt(self, name: str) -> None:
        """End it early, as SIGTERM ends the command: nothing new begins, and what is under way is given up. `name` goes
        into the report. From any thread; nothing happens where it ends already.
        """
        with self._lock:
            self._interrupted_by = self._interrupted_by or name
            self._pass_on()

    def hurry(self) -> None:
        """After `interrupt`: workers are killed instead of being waited for."""
        with self._lock:
            self._is_hurried = True
            self._pass_on()

    def _work(self) -> None:
        try:
            with self._open_places() as opened:
                report = run_in_loop(self._execute(opened))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self.ended.set_exception(error)
        else:
            self.ended.set_result(report)
        finally:
            atexit.unregister(self._end_at_exit)

    async def _execute(self, opened: Configuration) -> Report:
        run = self._make(opened)
        with self._lock:
            self._loop, self._run = asyncio.get_running_loop(), run
            self._pass_on()
        return await run.execute(take_signals=False)

    def _pass_on(self) -> None:
        if self._loop is None or self._run is None:
            return
        ending, loop = self._run.ending, self._loop
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            if self._interrupted_by is not None:
                # One turn of the loop later: by then the run has begun, and can account for what it does not do.
                loop.call_soon_threadsafe(loop.call_soon, ending.interrupt, self._interrupted_by)
            if self._is_hurried:
                loop.call_soon_threadsafe(loop.call_soon, ending.hurry)

    def _end_at_exit(self) -> None:
        self.interrupt("abandoned")
        self._thread.join(EXIT_S)


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
