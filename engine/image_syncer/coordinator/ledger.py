"""The ledger: every image of the run is entered once, with its outcome, and streamed to the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.errors import InternalError, RegistryDownError
from image_syncer.registry import Operation
from image_syncer.telemetry import MAX_FAILURES, ImageResult, Outcome, ReportWriter, Totals, get_logger, is_logged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer.errors import SyncError
    from image_syncer.journal.journal import Journal
    from image_syncer.oci import Reference


MOST_MOVED_TOLD = 5
"""Moved tags with a warning of their own; the others share one."""

_log = get_logger(__name__)


class Tally:
    """A count of images and a sum over the hashes of their names: constant memory, any order.

    Tallies of the same images are equal. Others with the same count are equal with a chance of one in 2**61.
    """

    __slots__ = ("_sum", "count")

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, source: str, destination: str) -> None:
        """Count one more image and destination."""
        self.count += 1
        self._sum += hash((source, destination))

    def agrees(self, other: Tally) -> bool:
        """Return whether both have counted the same images."""
        return (self.count, self._sum) == (other.count, other._sum)


class Ledger:
    """Takes results; keeps the sums and the first failures, and nothing else of a finished image.

    Planned images are counted on their own, so that `check` finds one that was lost.
    """

    def __init__(
        self,
        writer: ReportWriter | None,
        on_image: Callable[[ImageResult], None] | None,
        journal: Journal | None = None,
    ) -> None:
        self._writer = writer
        self._journal = journal
        self._on_image = on_image
        self.totals = Totals()
        self.failures: list[ImageResult] = []
        self._moved: list[ImageResult] = []
        self._moved_count = 0
        self._planned = Tally()
        self._entered = Tally()

    @property
    def planned(self) -> int:
        """The number of images and destinations planned so far."""
        return self._planned.count

    def plan(self, source: Reference | str, destination: Reference | str) -> None:
        """Count an image and destination that is owed an outcome."""
        self._planned.add(str(source), str(destination))

    def enter(self, result: ImageResult, *, planned_as: str | None = None) -> None:
        """Enter the end of an image at a destination. `planned_as` is the destination's former name, if it changed."""
        self._entered.add(result.source, planned_as or result.destination)
        self.totals.add(result)
        if result.outcome.is_failure and len(self.failures) < MAX_FAILURES:
            self.failures.append(result)
        if result.source_moved is not None:
            self._moved_count += 1
            if len(self._moved) < MOST_MOVED_TOLD:
                self._moved.append(result)
        if self._writer is not None:
            self._writer.add(result)
        if self._journal is not None:
            self._journal.note_result(result)
        if is_logged("info"):
            _log.info("image", **result.as_data())
        if (on_image := self._on_image) is not None:
            self._on_image = None  # a listener that raises is not called again while the run ends
            on_image(result)
            self._on_image = on_image

    def warnings(self) -> Iterator[str]:
        """Yield the tags that moved at the source while they were copied, or since they were planned."""
        for result in self._moved:
            copied = f"{result.destination} has what was planned, {result.source_digest}"
            yield f"{result.source} has moved on, and is now {result.source_moved}; {copied}"
        if more := self._moved_count - len(self._moved):
            yield f"{more:,} more have moved on: the report has them (source_moved)"

    def check(self) -> None:
        """Raise InternalError where the planned images are not those that have an outcome."""
        if self._entered.agrees(self._planned):
            return
        planned, entered = self._planned.count, self._entered.count
        difference = "" if planned != entered else ", and they are not the same ones"
        raise InternalError(
            f"the ledger does not add up: {planned:,} image{'s were' if planned != 1 else ' was'} planned, "
            f"{entered:,} {'have' if entered != 1 else 'has'} an outcome{difference}"
        )


def failed(
    source: Reference | str,
    destination: Reference | str,
    error: SyncError,
    outcome: Outcome = Outcome.FAILED,
    **facts: Any,
) -> ImageResult:
    """Return the result of an image that could not be copied to a destination, or was not begun, because of `error`."""
    if isinstance(error, RegistryDownError):
        error = error.located(operation=Operation.PING.value)  # it is what was asked last
    return ImageResult(
        source=str(source),
        destination=str(destination),
        outcome=outcome,
        reason=str(error).splitlines()[0],
        error=error.to_data(),
        tries=error.tries,
        **facts,
    )
