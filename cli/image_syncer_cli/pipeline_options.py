"""Options of a run for pipelines: what Jenkins, GitLab and GitHub show of it."""

from __future__ import annotations

from pathlib import Path

import click

from image_syncer_cli.option_values import file_name

__all__ = ["PIPELINE_NAMES", "PIPELINE_OPTIONS", "refuse_same_files"]

PIPELINE_OPTIONS = (
    click.option(
        "--report-junit",
        callback=file_name,
        metavar="FILE",
        help="Write a test case for each image and destination, as JUnit XML, which Jenkins and GitLab show.",
    ),
    click.option(
        "--report-markdown",
        callback=file_name,
        metavar="FILE",
        help='Append a summary in Markdown to FILE, such as "$GITHUB_STEP_SUMMARY".',
    ),
)

PIPELINE_NAMES = ("report_junit", "report_markdown")
"""Their parameters, for verbs that do not have them."""


def refuse_same_files(*paths: str | None) -> None:
    """Raises UsageError where two of the files are one, of which the last that is written would remain."""
    given = [Path(path).resolve() for path in paths if path is not None and not path.startswith("/dev/")]
    if len(set(given)) < len(given):
        raise click.UsageError("--report, --report-junit and --report-markdown are each a file of its own.")
