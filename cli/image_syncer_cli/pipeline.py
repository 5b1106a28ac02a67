"""Reports for Jenkins, GitLab and GitHub: the options, and the JUnit XML and Markdown files that a run writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_syncer_cli.option_values import file_option

if TYPE_CHECKING:
    from image_syncer import ImageResult, Report


class PipelineFiles:
    """The files that were asked for; `options` names the option of each. Raises `ConfigurationError` where the JUnit
    file cannot be created.
    """

    def __init__(self, junit: str | None, markdown: str | None, options: tuple[str, str]) -> None:
        from image_syncer.reporting.result_files import JUnitWriter
        from image_syncer.reporting.run_account import FailureGroups

        self._junit = None if junit is None else JUnitWriter(junit, option=options[0])
        self._markdown = markdown
        self._markdown_option = options[1]
        self._failures = FailureGroups()

    def add(self, result: ImageResult) -> None:
        """Note one image."""
        self._failures.add(result)
        if self._junit is not None:
            self._junit.add(result)

    def write(self, report: Report) -> None:
        """Write the files. Raises `SyncError`."""
        from image_syncer.reporting.result_files import append_markdown, markdown_summary

        if self._junit is not None:
            self._junit.close(report)
        if self._markdown is not None:
            summary = markdown_summary(report, self._failures.groups())
            append_markdown(self._markdown, summary, option=self._markdown_option)

    def close(self, report: Report) -> Report:
        """Write the files at the end of a run. Where that fails, the returned report says so."""
        from image_syncer import SyncError

        try:
            self.write(report)
        except SyncError as error:
            told = f"{report.unwritten}\n{error}" if report.unwritten is not None else str(error)
            return replace(report, unwritten=told)
        return report

    def abandon(self) -> None:
        """Remove what was written: the run ended before its report."""
        if self._junit is not None:
            self._junit.abandon()


JUNIT_HELP = "Write JUnit XML, a test case for each image and destination, for Jenkins and GitLab."
MARKDOWN_HELP = 'Append a Markdown summary to FILE, e.g. "$GITHUB_STEP_SUMMARY".'
PIPELINE_OPTIONS = (
    file_option("--report-junit", help=JUNIT_HELP),
    file_option("--report-markdown", help=MARKDOWN_HELP),
)


def refuse_same_files(*paths: str | None) -> None:
    """Raise UsageError where two of the files are the same: the last one written would replace the others."""
    given = [Path(path).resolve() for path in paths if path is not None and not path.startswith("/dev/")]
    if len(set(given)) < len(given):
        raise click.UsageError("--report, --report-junit and --report-markdown are each a file of its own.")
