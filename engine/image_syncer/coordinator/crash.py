"""Crashes: an internal error, wherever in a run it happens, ends the run with a report instead of a hang."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any

from image_syncer.errors import SyncError, redact
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

__all__ = ["CrashWatch", "crash_reason", "crash_words", "tell_crash"]

_log = get_logger(__name__)


class CrashWatch:
    """Remembers the first exception that nobody was there to handle; `on_crash` is called with it.

    Callbacks of the loop (sockets, timers) and tasks that nobody waits for have no caller to whom they could fail: what
    they raise comes to the loop's exception handler, which by default only logs it.
    """

    def __init__(self, on_crash: Callable[[Exception], None]) -> None:
        self._on_crash = on_crash
        self.error: Exception | None = None

    def note(self, error: Exception) -> None:
        """The run cannot go on as it should: the first time, `on_crash` is called."""
        _log.debug("crashed", traceback=redact("".join(traceback.format_exception(error))))
        if self.error is None:
            self.error = error
            self._on_crash(error)

    @contextlib.contextmanager
    def listening(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """While it lasts, what reaches the exception handler of `loop` is noted."""
        before = loop.get_exception_handler()
        loop.set_exception_handler(self._handle)
        try:
            yield
        finally:
            loop.set_exception_handler(before)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A SyncError is no mistake: somebody has stopped waiting for it. Nor is what breaks a transport, whose owner
        # is told by its end.
        if isinstance(error, Exception) and not isinstance(error, SyncError) and "transport" not in context:
            self.note(error)
        else:
            loop.default_exception_handler(context)


def tell_crash(task: asyncio.Task[None]) -> None:
    """A done-callback for tasks on which nobody waits: what they raise is told at once, and not when they are freed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "a task crashed", "exception": error, "task": task})


def crash_reason(error: BaseException) -> str:
    """What is said of images that were not tried because of it."""
    return f"an internal error of image-syncer ended the run: {crash_words(error)}"


def crash_words(error: BaseException) -> str:
    """The exception in one line, without what may be a secret."""
    text = redact(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
