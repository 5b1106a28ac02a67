"""The end of a run before all is done: by a signal, the deadline, a stall, or an internal error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import traceback
from typing import TYPE_CHECKING, Any

from image_syncer.errors import SyncError, redact
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


INTERRUPTED = "the run was interrupted"
DEADLINE = "the deadline has passed"
DRAINED = "the run was drained: what was under way ended, and nothing more was begun"
"""Reasons of images that were not tried."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_log = get_logger(__name__)


class CrashWatch:
    """Keeps the first unhandled exception, and calls `on_crash` with it: the run ends with a report instead of a hang.

    Callbacks of the loop (sockets, timers) and tasks that nothing awaits have no caller: what they raise comes to the
    loop's exception handler, which by default only logs it.
    """

    def __init__(self, on_crash: Callable[[Exception], None]) -> None:
        self._on_crash = on_crash
        self.error: Exception | None = None

    def note(self, error: Exception) -> None:
        """An internal error: the first time, `on_crash` is called."""
        _log.debug("crashed", traceback=redact("".join(traceback.format_exception(error))))
        if self.error is None:
            self.error = error
            self._on_crash(error)

    @contextlib.contextmanager
    def listening(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Note what reaches the exception handler of `loop` meanwhile."""
        before = loop.get_exception_handler()
        loop.set_exception_handler(self._handle)
        try:
            yield
        finally:
            loop.set_exception_handler(before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A SyncError whose waiter is gone is no internal error, nor is what breaks a transport: its owner sees the end.
        if isinstance(error, Exception) and not isinstance(error, SyncError) and "transport" not in context:
            self.note(error)
        else:
            loop.default_exception_handler(context)


def tell_crash(task: asyncio.Task[None]) -> None:
    """A done-callback for tasks that nothing awaits: what they raise is reported at once, not when they are freed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "a task crashed", "exception": error, "task": task})


def crash_reason(error: BaseException) -> str:
    """The reason of images that were not tried because of a crash."""
    return f"an internal error of image-syncer ended the run: {crash_words(error)}"


def crash_words(error: BaseException) -> str:
    """The exception in one line, without secrets."""
    text = redact(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


@contextlib.contextmanager
def taken_signals(loop: asyncio.AbstractEventLoop, on_signal: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Handle SIGINT, SIGTERM and SIGHUP meanwhile (SIGHUP not where it is ignored, as under `nohup`). Outside of the
    main thread nothing happens.
    """
    before = {}
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if number == signal.SIGHUP and handler == signal.SIG_IGN:
            continue
        with contextlib.suppress(ValueError, RuntimeError):  # not the main thread
            loop.add_signal_handler(number, on_signal, number)
            before[number] = handler
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            if handler is not None:  # None: not set by Python, and cannot be restored
                signal.signal(number, handler)


class Ending:
    """Ends a run for the first cause. `on_begin` is called then: nothing new begins, what is under way is given up.
    `on_hurry` is called before a second signal ends the process at once.
    """

    def __init__(self, *, on_begin: Callable[[], None], on_hurry: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_begin = on_begin
        self.hurry = on_hurry
        """Ends the workers at once; called when the process is about to end."""
        self._signalled = False
        self.name: str | None = None
        """The cause for the report: a signal ("SIGINT"), "deadline", "stuck", "drain"; None before."""
        self.reason = INTERRUPTED
        """The reason of images that are not tried because of it."""

    def begin(self, name: str, reason: str) -> None:
        """End the run now; nothing happens where it ends already."""
        if self.name is not None:
            return
        self.name, self.reason = name, reason
        _log.info("interrupted", by=name, reason=reason)
        self._on_begin()

    def drained(self) -> None:
        """All that was under way has ended, and the rest was not begun, by a command of the user."""
        if self.name is None:
            self.name, self.reason = "drain", DRAINED

    def interrupt(self, name: str) -> None:
        """End the run as the signal of that name would, which the embedding program has handled."""
        self.begin(name, INTERRUPTED)

    @contextlib.contextmanager
    def deadline(self, seconds: float | None) -> Iterator[None]:
        """End the run after so many seconds (None: never)."""
        if seconds is None:
            yield
            return
        timer = self._loop.call_later(seconds, self.begin, "deadline", DEADLINE)
        try:
            yield
        finally:
            timer.cancel()

    def signals(self, *, wanted: bool = True) -> contextlib.AbstractContextManager[None]:
        """Handle the signals that end a run, unless the embedding program does (not `wanted`)."""
        return taken_signals(self._loop, self._on_signal) if wanted else contextlib.nullcontext()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._signalled:
            self.hurry()
            os._exit(128 + number)
        self._signalled = True
        self.begin(signal.Signals(number).name, INTERRUPTED)
