"""Observers: those who look on at runs, such as metrics and traces. A run tells each of them what happens.

Who wants to look on is in `OBSERVERS` when the run is made, so that nothing between the command line and the run has to
know of it. They are called from the run's loop and must not block. One that raises is told nothing more: a run is worth
more than those who watch it.
"""

from __future__ import annotations

import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING

from image_syncer.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.telemetry.measures import Measures
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.progress import Snapshot
    from image_syncer.telemetry.report import Report
    from image_syncer.telemetry.transfer_record import TransferRecord

__all__ = ["OBSERVERS", "Observed", "Observer"]

_log = get_logger(__name__)


class Observer:
    """Each method is about one thing that happens, and does nothing here. Several runs may go on at a time, each in a
    thread of its own, from which it calls.
    """

    def of_run(self) -> Observer:
        """Who looks on at one run: another for each, where they have to be told apart."""
        return self

    def on_begin(self, kind: str, began_at: float) -> None:
        """A run begins, of this kind ("sync", "verify", "prune"), at this time of the epoch."""

    def on_progress(self, snapshot: Snapshot) -> None:
        """As of `sync`."""

    def on_measures(self, measures: Measures) -> None:
        """As often as progress."""

    def on_image(self, result: ImageResult) -> None:
        """As of `sync`."""

    def on_transfer(self, record: TransferRecord, images: frozenset[tuple[str, str]]) -> None:
        """A blob has moved, or failed to, for these images (source and destination)."""

    def on_report(self, report: Report) -> None:
        """The run has ended."""

    def on_abandoned(self) -> None:
        """The run has ended without a report: it was refused, or cancelled by the program around it."""


OBSERVERS: ContextVar[tuple[Observer, ...]] = ContextVar("OBSERVERS", default=())


class Observed:
    """The observers of one run: those that are in `OBSERVERS` when this is made."""

    def __init__(self) -> None:
        self._observers = [one.of_run() for one in OBSERVERS.get()]

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, what: Callable[[Observer], None]) -> None:
        """Call each of them."""
        for observer in tuple(self._observers):
            try:
                what(observer)
            except Exception:  # noqa: BLE001, PERF203 - whatever it is, the run goes on
                self._observers.remove(observer)
                _log.warning("an observer is told nothing more", observer=type(observer).__name__)
                _log.debug("an observer is told nothing more", traceback=traceback.format_exc())

    def abandon(self) -> None:
        """Tell that the run ends without a report."""
        self.tell(lambda one: one.on_abandoned())

    def progress(self, on_progress: Callable[[Snapshot], None] | None) -> Callable[[Snapshot], None] | None:
        """Tells observers, and then `on_progress`."""
        if not self:
            return on_progress

        def tell_all(snapshot: Snapshot) -> None:
            self.tell(lambda one: one.on_progress(snapshot))
            if on_progress is not None:
                on_progress(snapshot)

        return tell_all

    def images(self, on_image: Callable[[ImageResult], None] | None) -> Callable[[ImageResult], None] | None:
        """Tells observers, and then `on_image`."""
        if not self:
            return on_image

        def tell_all(result: ImageResult) -> None:
            self.tell(lambda one: one.on_image(result))
            if on_image is not None:
                on_image(result)

        return tell_all
