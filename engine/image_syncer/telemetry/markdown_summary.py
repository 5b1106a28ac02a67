"""A run in Markdown, for the page of a pipeline: GitHub's job summary, a comment, a wiki.

Names and reasons are written by strangers: they stand in `<code>`, where no name mentions anybody and no text is a
link, and every mark is a character reference, which no mark of Markdown can be (CommonMark 0.31, 2.5).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError, redact
from image_syncer.telemetry.outcome import Outcome
from image_syncer.units import format_duration, format_rate, format_size, mean_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from image_syncer.telemetry.failure_groups import FailureGroup
    from image_syncer.telemetry.report import Report

__all__ = ["append_markdown", "markdown_summary"]

_MOST_GROUPS = 20
_MOST_LINES = 20
_HARMLESS = frozenset(" -/,→…�")
_APART = {"@": "&#8203;"}
"""After a mark that would mention somebody: a space of no width."""
_MOST_TEXT = 240
"""GitHub takes 1 MiB a step; this stays far below it."""


def markdown_summary(report: Report, failures: Sequence[FailureGroup]) -> str:
    """The summary: outcome, figures, failures by cause, limits and warnings."""
    mark = "❌" if report.exit_code else "✅"
    words = {"verify": "verification", "prune": "prune"}.get(report.kind, "run")
    began = report.started_at[:19].replace("T", " ") + " UTC"
    lines = [f"### {mark} image-syncer: {words} of {_plain(began)}", ""]
    if report.internal_error is not None:
        lines += [f"**An internal error of image-syncer:** {_plain(report.internal_error)}", ""]
    if report.interrupted is not None:
        lines += [f"**Ended before all was done:** {_literal(report.interrupted)}", ""]
    lines += [*_table(("what", "how much"), _facts(report)), ""]
    if failures:
        lines += ["#### What failed", ""]
        rows = (
            (f"{group.count:,}", _literal(group.cause), _first(group), _plain(group.advice))
            for group in failures[:_MOST_GROUPS]
        )
        lines += [*_table(("images", "cause", "for example", "what to do"), rows), ""]
        if len(failures) > _MOST_GROUPS:
            lines += [f"… and {len(failures) - _MOST_GROUPS:,} more causes.", ""]
    for title, texts in (("Limits of registries", report.limit_lines()), ("Warnings", report.warnings)):
        if texts:
            lines += [f"#### {title}", "", *(f"- {_plain(text)}" for text in texts[:_MOST_LINES])]
            lines += [f"- … and {len(texts) - _MOST_LINES:,} more"] if len(texts) > _MOST_LINES else []
            lines.append("")
    return "\n".join(lines) + "\n"


def append_markdown(path: str, text: str, *, option: str) -> None:
    """Appends `text` to the file, which need not be there: a step of a pipeline may have written to it before. Raises
    `ConfigurationError` where that fails.
    """
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise ConfigurationError(
            f"the Markdown summary cannot be written to {path}: {error.strerror}",
            hint=f"Give {option} a file in a folder that exists and may be written to.",
        ) from None


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    totals = report.totals
    counts = ", ".join(f"{totals.outcomes[outcome]:,} {outcome}" for outcome in Outcome if totals.outcomes.get(outcome))
    yield "images", f"{totals.images:,}" + (f": {counts}" if counts else "")
    if report.kind == "verify":
        yield "checked", f"{totals.manifests_checked:,} manifests, {totals.blobs_checked:,} blobs"
        yield "differences", f"{totals.differences:,}"
    elif totals.outcomes.get(Outcome.PLANNED):
        yield "to copy", format_size(totals.bytes_planned)
    elif report.kind != "prune":
        rate = mean_rate(totals.bytes_moved, report.seconds)
        yield "moved", f"{format_size(totals.bytes_moved)} ({format_rate(rate)})"
        blobs = (
            f"{totals.blobs_moved:,} moved, {totals.blobs_mounted:,} mounted, {totals.blobs_present:,} already there"
        )
        yield "blobs", blobs
    yield "requests", f"{totals.request_count:,}"
    yield "time", format_duration(report.seconds)
    yield "exit code", str(report.exit_code)


def _first(group: FailureGroup) -> str:
    image = group.examples[0]
    return f"{_literal(image.source)} → {_literal(image.destination)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _literal(text: str) -> str:
    """A name, as characters that mean nothing."""
    return f"<code>{_plain(text)}</code>"


def _plain(text: str) -> str:
    """A sentence, as characters that mean nothing, without what may be a secret."""
    text = redact(text)
    short = text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"
    shown = (each if each.isprintable() else "�" for each in " ".join(short.splitlines()))
    return "".join(
        each if each.isalnum() or each in _HARMLESS else f"&#{ord(each)};{_APART.get(each, '')}" for each in shown
    )
