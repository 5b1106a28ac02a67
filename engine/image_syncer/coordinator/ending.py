"""The end of a run before all is done: by a signal, by the deadline, or because nothing moves any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from image_syncer.coordinator.signals import taken_signals
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DEADLINE", "DRAINED", "INTERRUPTED", "Ending"]

INTERRUPTED = "the run was interrupted"
DEADLINE = "the deadline has passed"
DRAINED = "the run was drained: what was under way ended, and nothing more was begun"
"""Reasons of what was not tried."""

_log = get_logger(__name__)


class Ending:
    """The first cause counts. `on_begin` lets nothing new begin and gives up what is under way; `on_hurry` is called
    before a second signal ends the process at once.
    """

    def __init__(self, *, on_begin: Callable[[], None], on_hurry: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_begin = on_begin
        self._on_hurry = on_hurry
        self._signalled = False
        self.name: str | None = None
        """Of the cause, for the report: a signal's ("SIGINT"), "deadline", "stuck", "drain", or None before."""
        self.reason = INTERRUPTED
        """Of what is not tried because of it."""

    def begin(self, name: str, reason: str) -> None:
        """The run is to end now; nothing happens where it does already."""
        if self.name is not None:
            return
        self.name, self.reason = name, reason
        _log.info("interrupted", by=name, reason=reason)
        self._on_begin()

    def drained(self) -> None:
        """All that was under way has ended, and the rest was not begun, as somebody wished."""
        if self.name is None:
            self.name, self.reason = "drain", DRAINED

    def interrupt(self, name: str) -> None:
        """As the signal of that name would, which somebody else has taken."""
        self.begin(name, INTERRUPTED)

    def hurry(self) -> None:
        """The process is about to end: what would stay behind is ended at once."""
        self._on_hurry()

    @contextlib.contextmanager
    def deadline(self, seconds: float | None) -> Iterator[None]:
        """End what runs inside when it has taken so long (None: never)."""
        if seconds is None:
            yield
            return
        timer = self._loop.call_later(seconds, self.begin, "deadline", DEADLINE)
        try:
            yield
        finally:
            timer.cancel()

    def signals(self, *, wanted: bool = True) -> contextlib.AbstractContextManager[None]:
        """Take the signals that end a run. Not `wanted`: they are somebody else's business."""
        return taken_signals(self._loop, self._on_signal) if wanted else contextlib.nullcontext()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._signalled:
            self._on_hurry()
            os._exit(128 + number)
        self._signalled = True
        self.begin(signal.Signals(number).name, INTERRUPTED)
