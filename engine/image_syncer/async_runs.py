"""The entry points for programs with an event loop (`sync_async`): each run has a thread and a loop of its own.

The watchdog takes a loop that is blocked for half a minute for a run in which nothing moves, and a run installs
exception handlers: so it does not share the loop of the program.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import pickle
import signal
import tempfile
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import IO, TYPE_CHECKING, final

from image_syncer.api import deletes
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run import Run, run_in_loop
from image_syncer.dispatch.ending import taken_signals
from image_syncer.layout import open_places
from image_syncer.runs import SyncParts
from image_syncer.telemetry.events import Event, ProgressMade, RunEnded
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from image_syncer.config import Configuration, Settings
    from image_syncer.control.run_control import RunControl
    from image_syncer.coordinator.run_parts import RunParts
    from image_syncer.telemetry import Report


CHUNK = 1000
"""Events that are written to the file together, about a megabyte; memory holds three times as many at most."""
EXIT_S = 10.0
"""Time for an abandoned run to end at the exit of the interpreter."""
CANCELLED = "cancelled"
"""`Report.interrupted` of a run that the program has ended."""
_TAKEN_IN_A_ROW = 64
"""Events after which the loop gets a turn, however many wait."""


class EventQueue:
    """A queue of events, in a file past a bound. It keeps the newest progress only, which goes before older events."""

    def __init__(self, chunk: int | None = None) -> None:
        self._chunk = chunk or CHUNK
        self._lock = threading.Lock()
        self._first: deque[Event] = deque()
        self._spilt: deque[tuple[int, int]] = deque()
        """The chunks in the file, in order: offset and length in bytes."""
        self._last: list[Event] = []
        self._file: IO[bytes] | None = None
        self._file_end = 0
        self._spill_at = self._chunk
        self._progress: ProgressMade | None = None
        self._progress_was_last = False

    @property
    def in_memory(self) -> int:
        """The number of events in memory."""
        return len(self._first) + len(self._last) + (self._progress is not None)

    def put(self, event: Event) -> None:
        """Add one event."""
        with self._lock:
            if isinstance(event, ProgressMade):
                self._progress = event
            elif not self._spilt and not self._last and len(self._first) < self._chunk:
                self._first.append(event)
            else:
                self._last.append(event)
                if len(self._last) >= self._spill_at:
                    self._spill()

    def take(self) -> Event | None:
        """Return the next event; None where there is none now."""
        with self._lock:
            if not self._first:
                self._refill()
            if self._progress is not None and (not self._progress_was_last or self._is_at_end()):
                event, self._progress, self._progress_was_last = self._progress, None, True
                return event
            # A slow reader gets progress as every second event.
            self._progress_was_last = False
            return self._first.popleft() if self._first else None

    def close(self) -> None:
        """Drop all events, and the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._first.clear()
            self._last.clear()
            self._spilt.clear()

    def _is_at_end(self) -> bool:
        return not self._first or isinstance(self._first[0], RunEnded)

    def _spill(self) -> None:
        data = pickle.dumps(self._last, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="image-syncer-events-", buffering=0)  # noqa: SIM115 - see close
            self._file.seek(self._file_end)
            written = self._file.write(data)
        except OSError:
            written = 0
        if written < len(data):  # the disk is full: events stay in memory until there are twice as many
            self._spill_at = 2 * len(self._last)
            return
        self._spilt.append((self._file_end, len(data)))
        self._file_end += len(data)
        self._last, self._spill_at = [], self._chunk

    def _refill(self) -> None:
        if not self._spilt:
            self._first, self._last, self._spill_at = deque(self._last), [], self._chunk
            return
        assert self._file is not None
        offset, length = self._spilt.popleft()
        self._file.seek(offset)
        self._first.extend(pickle.loads(_read(self._file, length)))  # noqa: S301 - the file has no name
        if not self._spilt:
            self._file.seek(0)
            self._file.truncate()
            self._file_end = 0


def _read(file: IO[bytes], length: int) -> bytes:
    """Read `length` bytes: an unbuffered read may return fewer."""
    parts = []
    while length and (part := file.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


class RunThread:
    """Executes the run that `make` returns, in a thread, while the configuration of `open_places` is open. `ended` gets
    the report or the error of the run.
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
        self.ended.set_running_or_notify_cancel()  # so that no waiter can cancel it

    def start(self) -> None:
        """Begin the run, in the context (contextvars) of the caller."""
        context = contextvars.copy_context()
        # A daemon, so that the interpreter can exit: see `_end_at_exit`.
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="image-syncer", daemon=True)
        atexit.register(self._end_at_exit)
        self._thread.start()

    def interrupt(self, name: str) -> None:
        """End it early, from any thread, as SIGTERM ends the command. The report has the first `name`."""
        with self._lock:
            self._interrupted_by = self._interrupted_by or name
            self._pass_on()

    def hurry(self) -> None:
        """After `interrupt`: kill the workers instead of waiting for them."""
        with self._lock:
            self._is_hurried = True
            self._pass_on()

    def _work(self) -> None:
        try:
            with self._open_places() as opened:
                report = run_in_loop(self._execute(opened))
        except BaseException as error:  # noqa: BLE001 - a waiter gets it
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
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run has ended
            if self._interrupted_by is not None:
                # One turn of the loop later: by then the run has begun, and can report what it does not do.
                loop.call_soon_threadsafe(loop.call_soon, ending.interrupt, self._interrupted_by)
            if self._is_hurried:
                loop.call_soon_threadsafe(loop.call_soon, ending.hurry)

    def _end_at_exit(self) -> None:
        self.interrupt("abandoned")
        self._thread.join(EXIT_S)


@final
class AsyncRun:
    """One run beside the event loop in which it is begun; `sync_async` and its siblings return it.

        async with sync_async(configuration, settings) as run:
            async for event in run:
                ...
            report = await run.report()

    or, for the report only, `report = await sync_async(configuration, settings)`.

    It begins with the block, with the request for the first event, or when it is awaited. Leaving the block before the
    end ends the run, gently: nothing new begins, what is under way is given up, and the report is written. So does
    `interrupt`, and so does cancelling the task that waits here, which takes a few seconds then. Cancelled once more
    meanwhile, it kills the workers and does not wait. No image is ever copied in part.

    Events come in order, and none is lost, however slowly they are taken: all of the run, in bounded memory. Of
    `ProgressMade` only the newest is kept. Waiting raises ConfigurationError where the run cannot begin.
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
        self._is_iterating = False
        self._is_error_raised = False
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
        if failure is not None and error is None and not self._is_error_raised:
            raise failure

    def __aiter__(self) -> AsyncRun:
        self._begin(with_events=True)
        return self

    async def __anext__(self) -> Event:
        thread = self._begin(with_events=True)
        if self._is_iterating:
            raise RuntimeError("another task waits for the events of this run: they go to one")
        if self._inbox is None:
            raise RuntimeError("the run was begun without events: ask for them before it is awaited")
        self._is_iterating = True
        try:
            event = await self._next(thread, self._inbox)
        finally:
            self._is_iterating = False
        if event is None:
            self._is_error_raised = True
            thread.ended.result()  # raises what the run failed with
            raise StopAsyncIteration
        return event

    def __await__(self) -> Generator[object, None, Report]:
        return self.report().__await__()

    async def report(self) -> Report:
        """Return the report, when the run has ended. Raises ConfigurationError where it could not begin."""
        thread = self._begin()
        await self._until_ended(thread)
        self._is_error_raised = True
        return thread.ended.result()

    def interrupt(self) -> None:
        """End the run early, gently, and return at once; events continue until `RunEnded`. The report says
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
        # The program has dropped it, as by leaving a loop over the events without a block.
        weakref.finalize(self, thread.interrupt, CANCELLED).atexit = False
        if inbox is not None:
            thread.ended.add_done_callback(inbox.wake)
            weakref.finalize(self, inbox.close).atexit = False
        thread.start()
        if self._take_signals:
            taken = contextlib.ExitStack()
            taken.enter_context(taken_signals(loop, _on_signal(thread)))
            asyncio.wrap_future(thread.ended).add_done_callback(lambda _ended: taken.close())
        return thread

    async def _next(self, thread: RunThread, inbox: _Inbox) -> Event | None:
        """Return the next event, once there is one; None at the end."""
        self._taken += 1
        try:
            if self._taken % _TAKEN_IN_A_ROW == 0:
                await asyncio.sleep(0)
            while True:
                ended = thread.ended.done()  # before `take`: nothing is put in after that
                inbox.arm()
                event = inbox.take()
                if event is not None or ended:
                    return event
                await inbox.woken.wait()
        except asyncio.CancelledError:
            thread.interrupt(CANCELLED)
            await self._until_ended(thread)
            raise

    async def _until_ended(self, thread: RunThread) -> None:
        """Wait for the end. Cancelled, end the run gently and wait for that; cancelled again, kill it."""
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
                ended.exception()  # `thread.ended` has it too


class _Inbox(EventQueue):
    """A queue that wakes a loop; the thread of the run puts events in."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._is_armed = False
        self.woken = asyncio.Event()

    def arm(self) -> None:
        """Set `woken` with the next event."""
        self.woken.clear()
        self._is_armed = True

    def put(self, event: Event) -> None:
        """Add one event, and wake the loop."""
        super().put(event)
        self.wake()

    def wake(self, _ended: Future[Report] | None = None) -> None:
        """Wake the loop, from any thread."""
        if self._is_armed:
            self._is_armed = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: it does not wait
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


def sync_async(
    configuration: Configuration,
    settings: Settings,
    *,
    take_signals: bool = False,
    control: RunControl | None = None,
) -> AsyncRun:
    """`sync` beside a running event loop of asyncio or uvloop: await it for the report, or iterate it for the events;
    see `AsyncRun`. Any number of runs may run at the same time, each with a `control` of its own, by which it is
    paused, drained and otherwise changed from any thread, and from the loop.

    With `take_signals`, in the main thread, SIGINT, SIGTERM and SIGHUP end the run as they end the command: once
    gently, twice the process at once. Otherwise the program handles them.
    """
    return _begin(
        configuration, settings, SyncParts, writes=not settings.dry_run, take_signals=take_signals, control=control
    )


def plan_async(configuration: Configuration, settings: Settings, *, take_signals: bool = False) -> AsyncRun:
    """`plan` beside a running event loop; see `sync_async`."""
    return sync_async(configuration, replace(settings, dry_run=True), take_signals=take_signals)


def verify_async(
    configuration: Configuration, settings: Settings, *, deep: bool = False, take_signals: bool = False
) -> AsyncRun:
    """`verify` beside a running event loop; see `sync_async`. With `deep` every byte is read."""
    from image_syncer.verification.parts import VerifyParts

    parts = partial(VerifyParts, deep=deep)
    return _begin(configuration, settings, parts, writes=False, take_signals=take_signals)


def prune_async(configuration: Configuration, settings: Settings, *, take_signals: bool = False) -> AsyncRun:
    """`prune` beside a running event loop; see `sync_async`."""
    from image_syncer.pruning.pruner import PruneParts

    return _begin(configuration, settings, PruneParts, writes=deletes(settings), take_signals=take_signals)


def _begin(
    configuration: Configuration,
    settings: Settings,
    parts: Callable[..., RunParts],
    *,
    writes: bool,
    take_signals: bool,
    control: RunControl | None = None,
) -> AsyncRun:
    def make(opened: Configuration, on_event: Callable[[Event], None] | None) -> Run:
        return Run(opened, settings, Listeners(on_event=on_event), parts=parts, control=control)

    return AsyncRun(make, partial(open_places, configuration, writes=writes), take_signals=take_signals)
