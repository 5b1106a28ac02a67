"""The ledger: every image of the run is entered once, with its outcome, and streamed to the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.telemetry import MAX_FAILURES, ImageResult, Outcome, ReportWriter, Totals, get_logger, is_logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.errors import SyncError
    from image_syncer.oci import Reference

__all__ = ["Ledger", "failed"]

_log = get_logger(__name__)


class Ledger:
    """Takes results, keeps the sums and the first failures, and nothing else of a finished image."""

    def __init__(self, writer: ReportWriter | None, on_image: Callable[[ImageResult], None] | None) -> None:
        self._writer = writer
        self._on_image = on_image
        self.totals = Totals()
        self.failures: list[ImageResult] = []

    def enter(self, result: ImageResult) -> None:
        """One image and destination has ended."""
        self.totals.add(result)
        if result.outcome.is_failure and len(self.failures) < MAX_FAILURES:
            self.failures.append(result)
        if self._writer is not None:
            self._writer.add(result)
        if is_logged("info"):
            _log.info("image", **result.as_data())
        if self._on_image is not None:
            self._on_image(result)


def failed(source: Reference | str, destination: Reference | str, error: SyncError, **facts: Any) -> ImageResult:
    """The result of an image that could not be brought to a destination."""
    return ImageResult(
        source=str(source),
        destination=str(destination),
        outcome=Outcome.FAILED,
        reason=str(error).splitlines()[0],
        error=error.to_data(),
        tries=error.tries,
        **facts,
    )
