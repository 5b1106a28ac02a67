"""Results of a run for other programs: JUnit XML, a Markdown summary, and a list of images.

JUnit XML has no standard: what is written suits the schema of Jenkins' xUnit plugin (junit-10.xsd of
https://github.com/jenkinsci/xunit-plugin) and GitLab ("Unit test reports"). Names and reasons in Markdown may be
hostile: they stand in `<code>`, and every mark is a character reference, which no mark of Markdown can be (CommonMark
0.31, 2.5).
"""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct, field

from image_syncer.errors import ConfigurationError, redact
from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.partial_file import PartialFile
from image_syncer.units import format_duration, format_rate, format_size, mean_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from image_syncer.reporting.run_account import FailureGroup
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import Report


_MOST_CASE_TEXT = 4000
"""Characters of one text in JUnit XML: a hostile registry must not make the page of a pipeline unreadable."""
_MOST_SUITES = 1000
"""Pairs of registries with a suite of their own; all others share one."""
_OTHERS = ("other registries", "other registries")
_KINDS = {
    Outcome.FAILED: "failure",
    Outcome.DIFFERENT: "failure",
    Outcome.NOT_TRIED: "error",
    Outcome.UNCHECKED: "error",
    Outcome.SKIPPED: "skipped",
    Outcome.PLANNED: "skipped",
}
"""The element in a case; a case without one has passed."""
_MOST_GROUPS = 20
_MOST_LINES = 20
_HARMLESS = frozenset(" -/,→…�")
_APART = {"@": "&#8203;"}
"""A space of no width after a mark that would mention a user."""
_MOST_TEXT = 240
"""Characters of one text in Markdown: GitHub takes 1 MiB per step, and this stays far below it."""


class ImageList:
    """Collects `source: [destinations]` of the images that were copied or unchanged, and writes them as an images file
    in YAML or JSON, as the Go tool does. It holds the names of all images in memory. Raises what `PartialFile` raises.
    """

    def __init__(self, path: str, *, list_format: str = "yaml") -> None:
        self._file = PartialFile(path, noun="the list of images", option="--output-success-images")
        self._format = list_format
        self._destinations: dict[str, list[str]] = {}

    def add(self, result: ImageResult) -> None:
        """Note one image, if it was copied or unchanged."""
        if result.outcome.is_as_wanted:
            self._destinations.setdefault(result.source, []).append(result.destination)

    def close(self) -> None:
        """Write the file, in alphabetical order."""
        ordered = {source: sorted(set(self._destinations[source])) for source in sorted(self._destinations)}
        if self._format == "json":
            import json

            text = json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"
        else:
            import yaml

            text = yaml.safe_dump(ordered, default_flow_style=False, allow_unicode=True, width=10_000)
        self._file.write(text.encode())
        self._file.commit()

    def abandon(self) -> None:
        """Leave no file."""
        self._file.abandon()


# JUnit XML


class _Suite(Struct):
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    places: array[int] = field(default_factory=lambda: array("Q"))


class JUnitWriter:
    """Writes the images of a run as JUnit XML: a suite for each pair of registries, a case for each image and
    destination.

    Cases are streamed to a file without a name, and written by suite at the end; in memory are two numbers per image.
    Raises what `PartialFile` raises.
    """

    def __init__(self, path: str, *, option: str) -> None:
        self._file = PartialFile(path, noun="the JUnit file", option=option)
        self._cases: IO[bytes] | None = None
        self._at = 0
        self._suites: dict[tuple[str, str], _Suite] = {}

    def add(self, result: ImageResult) -> None:
        """Note one image. The run continues where that fails."""
        key = result.source.partition("/")[0], result.destination.partition("/")[0]
        if key not in self._suites and len(self._suites) >= _MOST_SUITES:
            key = _OTHERS
        suite = self._suites.setdefault(key, _Suite())
        case = _case(result)
        try:
            if self._cases is None:
                self._cases = self._file.open_aside()
            self._cases.write(case)
        except OSError as error:
            self._file.fail(error)
            return
        suite.places.extend((self._at, len(case)))
        suite.seconds += result.seconds
        suite.counts[_KINDS.get(result.outcome, "passed")] += 1
        self._at += len(case)

    def close(self, report: Report) -> None:
        """Write the file. Raises SyncError, and leaves no file, where that fails."""
        try:
            self._write_suites(report)
        except OSError as error:
            self._file.fail(error)
        self._close_cases()
        self._file.commit()

    def abandon(self) -> None:
        """Leave no file; for a run that ended before its report."""
        self._close_cases()
        self._file.abandon()

    def _close_cases(self) -> None:
        if self._cases is not None:
            with contextlib.suppress(OSError):  # the buffer cannot be flushed
                self._cases.close()

    def _write_suites(self, report: Report) -> None:
        counts = sum((suite.counts for suite in self._suites.values()), Counter[str]())
        self._file.write(b'<?xml version="1.0" encoding="UTF-8"?>\n')
        name = _attribute(f"image-syncer {report.kind}")
        head = f'<testsuites name={name} {_numbers(counts)} time="{report.seconds:.3f}">\n'
        self._file.write(head.encode())
        for (source, destination), suite in sorted(self._suites.items()):
            name = _attribute(f"{source} → {destination}")
            began = _attribute(report.started_at[:19])
            skipped = f'skipped="{suite.counts["skipped"]}"'
            numbers = f'{_numbers(suite.counts)} {skipped} time="{suite.seconds:.3f}"'
            self._file.write(f"<testsuite name={name} {numbers} timestamp={began}>\n".encode())
            for at, size in zip(suite.places[::2], suite.places[1::2], strict=True):
                assert self._cases is not None  # it has the cases of every suite
                self._cases.seek(at)
                self._file.write(self._cases.read(size))
            self._file.write(b"</testsuite>\n")
        self._file.write(b"</testsuites>\n")


def _numbers(counts: Counter[str]) -> str:
    return f'tests="{sum(counts.values())}" failures="{counts["failure"]}" errors="{counts["error"]}"'


def _case(result: ImageResult) -> bytes:
    name = _attribute(f"{result.source} → {result.destination}")
    repository = result.destination.partition("@")[0].rpartition("/")
    owner = _attribute("/".join(part for part in (repository[0], repository[2].partition(":")[0]) if part))
    head = f'<testcase name={name} classname={owner} time="{result.seconds:.3f}"'
    kind = _KINDS.get(result.outcome)
    if kind is None:
        return f"{head}/>\n".encode()
    reason = result.reason or ""
    message = _attribute(f"{result.outcome}: {reason.splitlines()[0]}" if reason else str(result.outcome))
    if kind == "skipped":
        return f"{head}><skipped message={message}/></testcase>\n".encode()
    known = (result.error or {}).get("kind")
    cause = _attribute(known if isinstance(known, str) else str(result.outcome))
    hint = (result.error or {}).get("hint")
    lines = [reason, hint if isinstance(hint, str) else "", *map(str, (result.differences or ())[:20])]
    text = escape(_text("\n".join(line for line in lines if line)))
    return f"{head}><{kind} message={message} type={cause}>{text}</{kind}></testcase>\n".encode()


def _attribute(text: str) -> str:
    return quoteattr(_text(text), {"\n": "&#10;", "\t": "&#9;"})


def _text(text: str) -> str:
    """`text` in the characters that XML allows (XML 1.0, 2.2), cut where it is too long. Secrets are removed once more:
    pipelines show and keep what they get.
    """
    return "".join(each if _is_of_xml(each) else "�" for each in redact(text)[:_MOST_CASE_TEXT])


def _is_of_xml(character: str) -> bool:
    code = ord(character)
    return code in (0x9, 0xA) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000  # noqa: PLR2004


# Markdown


def markdown_summary(report: Report, failures: Sequence[FailureGroup]) -> str:
    """A run in Markdown, for the page of a pipeline: outcome, figures, failures by cause, limits and warnings."""
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
    """Append `text` to the file, to which another step of a pipeline may have written. Raises `ConfigurationError`
    where that fails.
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
    return f"<code>{_plain(text)}</code>"


def _plain(text: str) -> str:
    """`text` without secrets, with every mark as a character reference."""
    text = redact(text)
    short = text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"
    shown = (each if each.isprintable() else "�" for each in " ".join(short.splitlines()))
    return "".join(
        each if each.isalnum() or each in _HARMLESS else f"&#{ord(each)};{_APART.get(each, '')}" for each in shown
    )
