"""The ledger: every image of the run is entered once, with its outcome, and streamed to the report.

What was planned is counted on its own, so that an image that got lost on the way is found before the run ends.
"""

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

__all__ = ["Ledger", "Tally", "failed", "not_begun"]

MOST_MOVED_TOLD = 5
"""Tags that moved meanwhile of which the warnings say each; many of them make one line."""

_log = get_logger(__name__)


class Tally:
    """How many images there are, and a sum over their names: in constant memory, and in whatever order they come.

    Two tallies of the same images are equal. Of others they differ, but for a chance of one in 2**61 where as many were
    counted.
    """

    __slots__ = ("_sum", "count")

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, source: str, destination: str) -> None:
        """Counts one more image and destination."""
        self.count += 1
        self._sum += hash((source, destination))

    def agrees(self, other: Tally) -> bool:
        """Whether both have counted the same."""
        return (self.count, self._sum) == (other.count, other._sum)


class Ledger:
    """Takes results, keeps the sums and the first failures, and nothing else of a finished image."""

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
        """How many images and destinations have come up so far."""
        return self._planned.count

    def plan(self, source: Reference | str, destination: Reference | str) -> None:
        """One image and destination has come up, and is owed an outcome."""
        self._planned.add(str(source), str(destination))

    def enter(self, result: ImageResult, *, planned_as: str | None = None) -> None:
        """One image and destination has ended. `planned_as`: the destination's name in the plan, if it was another."""
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
            self._on_image = None  # who fails here is not asked again while the run is brought to its end
            on_image(result)
            self._on_image = on_image

    def warnings(self) -> Iterator[str]:
        """Tags that moved at the source while they were copied, or since they were planned: the first of them, and how
        many more there are.
        """
        for result in self._moved:
            copied = f"{result.destination} has what was planned, {result.source_digest}"
            yield f"{result.source} has moved on, and is now {result.source_moved}; {copied}"
        if more := self._moved_count - len(self._moved):
            yield f"{more:,} more have moved on: the report has them (source_moved)"

    def check(self) -> None:
        """Raises InternalError where the images that were planned are not those that have an outcome."""
        if self._entered.agrees(self._planned):
            return
        planned, entered = self._planned.count, self._entered.count
        difference = "" if planned != entered else ", and they are not the same ones"
        raise InternalError(
            f"the ledger does not add up: {planned:,} image{'s were' if planned != 1 else ' was'} planned, "
            f"{entered:,} {'have' if entered != 1 else 'has'} an outcome{difference}"
        )


def failed(source: Reference | str, destination: Reference | str, error: SyncError, **facts: Any) -> ImageResult:
    """The result of an image that could not be brought to a destination."""
    return _result(source, destination, Outcome.FAILED, error, **facts)


def not_begun(source: Reference | str, destination: Reference | str, error: SyncError, **facts: Any) -> ImageResult:
    """The result of an image that was not begun, since by `error` it could not succeed."""
    return _result(source, destination, Outcome.NOT_TRIED, error, **facts)


def _result(
    source: Reference | str, destination: Reference | str, outcome: Outcome, error: SyncError, **facts: Any
) -> ImageResult:
    if isinstance(error, RegistryDownError):
        error.located(operation=Operation.PING.value)  # it is what was asked last
    return ImageResult(
        source=str(source),
        destination=str(destination),
        outcome=outcome,
        reason=str(error).splitlines()[0],
        error=error.to_data(),
        tries=error.tries,
        **facts,
    )
