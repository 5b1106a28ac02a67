"""What a run writes for pipelines: JUnit XML and Markdown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import ImageResult, Report

__all__ = ["PipelineFiles"]


class PipelineFiles:
    """The files that were asked for, each with the option that did. Raises `ConfigurationError` where the first cannot
    be made, before the run.
    """

    def __init__(self, junit: str | None, markdown: str | None, options: tuple[str, str]) -> None:
        from image_syncer import FailureGroups, JUnitWriter

        self._junit = None if junit is None else JUnitWriter(junit, option=options[0])
        self._markdown = markdown
        self._markdown_option = options[1]
        self._failures = FailureGroups()

    def watch(self, on_image: Callable[[ImageResult], None] | None) -> Callable[[ImageResult], None]:
        """What is to be called with each image: it notes it, and calls `on_image`."""

        def note(result: ImageResult) -> None:
            self._failures.add(result)
            if self._junit is not None:
                self._junit.add(result)
            if on_image is not None:
                on_image(result)

        return note

    def write(self, report: Report) -> None:
        """Writes them. Raises `SyncError` where that fails."""
        from image_syncer import append_markdown, markdown_summary

        if self._junit is not None:
            self._junit.close(report)
        if self._markdown is not None:
            summary = markdown_summary(report, self._failures.groups())
            append_markdown(self._markdown, summary, option=self._markdown_option)

    def close(self, report: Report) -> Report:
        """The same at the end of a run, which has failed where they cannot be written: its report says so."""
        from image_syncer import SyncError

        try:
            self.write(report)
        except SyncError as error:
            told = f"{report.unwritten}\n{error}" if report.unwritten is not None else str(error)
            return replace(report, unwritten=told)
        return report

    def abandon(self) -> None:
        """For a run that ended before it could be told of."""
        if self._junit is not None:
            self._junit.abandon()
