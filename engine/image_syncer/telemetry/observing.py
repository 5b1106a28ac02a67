"""Observers: metrics and traces, to which a run reports what happens.

Observers are in `OBSERVERS` when the run is made, so nothing between the command line and the run has to know of them.
They are called from the run's loop and must not block. One that raises is called no more.
"""

from __future__ import annotations

import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from msgspec import field

from image_syncer.telemetry.logs import get_logger
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.net import TallyRow
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.progress import Snapshot
    from image_syncer.telemetry.report import Report, TransferRecord


_log = get_logger(__name__)
_What = TypeVar("_What")


class Measures(Value, frozen=True):
    """What a run has counted so far, beyond a `Snapshot`, for metrics.

    Counts since its begin: `requests` as of `RequestTally.rows`, `moved` bytes of blobs by side and registry, `retries`
    of requests by registry, `breaks` of transfers by side, `transfers` by outcome, the time that each side of transfers
    `waited_s` for the other, and `pauses` of downloads because a ring was full. Current values: `pids` of the workers,
    transfers `in_flight`, their bytes `in_rings`, the `streams` that a worker may have, and the effective limits by
    registry (None: of all registries together).
    """

    requests: tuple[TallyRow, ...] = ()
    moved: Mapping[tuple[str, str], int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    breaks: Mapping[str, int] = field(default_factory=dict)
    transfers: Mapping[str, int] = field(default_factory=dict)
    waited_s: Mapping[str, float] = field(default_factory=dict)
    pauses: int = 0
    replaced_workers: int = 0
    pids: tuple[int, ...] = ()
    in_flight: int = 0
    in_rings: int = 0
    streams: int = 0
    requests_allowed: Mapping[str, float] = field(default_factory=dict)
    connections_allowed: Mapping[str, int] = field(default_factory=dict)
    bytes_allowed: Mapping[str | None, float] = field(default_factory=dict)


class Observer:
    """Each method is about one event, and does nothing here. Runs in several threads may call it at the same time."""

    def of_run(self) -> Observer:
        """Return the observer of one run, where runs have to be distinguished."""
        return self

    def on_begin(self, kind: str, began_at: float) -> None:
        """A run of this kind ("sync", "verify", "prune") begins, at this time of the epoch."""

    def on_progress(self, snapshot: Snapshot) -> None:
        """As of `sync`."""

    def on_measures(self, measures: Measures) -> None:
        """As often as progress."""

    def on_image(self, result: ImageResult) -> None:
        """As of `sync`."""

    def on_transfer(self, record: TransferRecord, images: frozenset[tuple[str, str]]) -> None:
        """A transfer has ended, of a blob of these images (source and destination)."""

    def on_report(self, report: Report) -> None:
        """The run has ended."""

    def on_abandoned(self) -> None:
        """The run has ended without a report: it was refused, or cancelled by its program."""


OBSERVERS: ContextVar[tuple[Observer, ...]] = ContextVar("OBSERVERS", default=())


class Observed:
    """The observers of one run: those in `OBSERVERS` when this is made."""

    def __init__(self) -> None:
        self._observers = [one.of_run() for one in OBSERVERS.get()]

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, what: Callable[[Observer], None]) -> None:
        """Call `what` with each observer."""
        for observer in tuple(self._observers):
            try:
                what(observer)
            except Exception:  # noqa: BLE001, PERF203 - whatever it is, the run continues
                self._observers.remove(observer)
                _log.warning("an observer is told nothing more", observer=type(observer).__name__)
                _log.debug("an observer is told nothing more", traceback=traceback.format_exc())

    def abandon(self) -> None:
        """Tell the observers that the run ends without a report."""
        self.tell(lambda one: one.on_abandoned())

    def before(
        self, tell: Callable[[Observer, _What], None], then: Callable[[_What], None] | None
    ) -> Callable[[_What], None] | None:
        """Return a callback that calls `tell` with each observer, and then `then`; without observers, `then` itself."""
        if not self:
            return then

        def tell_all(what: _What) -> None:
            self.tell(lambda one: tell(one, what))
            if then is not None:
                then(what)

        return tell_all
