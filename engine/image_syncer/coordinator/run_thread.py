"""A run in a thread and a loop of its own: whatever the loop of its user does meanwhile, nobody waits for that.

A loop that stands still for half a minute would look to the watchdog like a run in which nothing moves; and what the
run does with its own loop (exception handlers, above all) is nothing for a loop that others use, too.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from image_syncer.coordinator.loop import run_in_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from image_syncer.config import Configuration
    from image_syncer.coordinator.run import Run
    from image_syncer.telemetry import Report

__all__ = ["RunThread"]

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
