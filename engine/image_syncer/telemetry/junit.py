"""The images of a run as JUnit XML, which Jenkins, GitLab and others read: a suite for each pair of registries, a case
for each image and destination.

The format is nobody's standard; what is written is what the schema of Jenkins' xUnit plugin
(https://github.com/jenkinsci/xunit-plugin, junit-10.xsd) and GitLab ("Unit test reports") both take.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import IO, TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct, field

from image_syncer.errors import SyncError, redact
from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.partial_file import PartialFile

if TYPE_CHECKING:
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import Report

__all__ = ["JUnitWriter"]

_MOST_TEXT = 4000
"""Characters of one text: a report of a hostile registry must not make a pipeline's page unreadable."""
_MOST_SUITES = 1000
"""Pairs of registries with a suite of their own; what is more goes into one together."""
_OTHERS = ("other registries", "other registries")
_KINDS = {
    Outcome.FAILED: "failure",
    Outcome.DIFFERENT: "failure",
    Outcome.NOT_TRIED: "error",
    Outcome.UNCHECKED: "error",
    Outcome.SKIPPED: "skipped",
    Outcome.PLANNED: "skipped",
}
"""What stands in a case; a case without is one that passed."""


class _Suite(Struct):
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    places: array[int] = field(default_factory=lambda: array("Q"))


class JUnitWriter:
    """Streams cases to a file without a name, and writes them by suite when the run has ended: two numbers an image are
    in memory. Raises what `PartialFile` raises; what goes wrong in the middle of a run is said at its end.
    """

    def __init__(self, path: str, *, option: str) -> None:
        self._file = PartialFile(path, noun="the JUnit file", option=option)
        self._cases: IO[bytes] | None = None
        self._at = 0
        self._suites: dict[tuple[str, str], _Suite] = {}
        self._failure: SyncError | None = None

    def add(self, result: ImageResult) -> None:
        """Notes one image. The run goes on where that fails."""
        if self._failure is not None:
            return
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
            self._failure = self._file.failure(error)
            return
        suite.places.extend((self._at, len(case)))
        suite.seconds += result.seconds
        suite.counts[_KINDS.get(result.outcome, "passed")] += 1
        self._at += len(case)

    def close(self, report: Report) -> None:
        """Writes the file. Raises SyncError, and leaves none, where that fails."""
        try:
            if self._failure is not None:
                raise self._failure
            self._finish(report)
        except SyncError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leaves no file behind; for a run that ended before it could be reported."""
        if self._cases is not None:
            self._cases.close()
        self._file.abandon()

    def _finish(self, report: Report) -> None:
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
            self._copy(suite)
            self._file.write(b"</testsuite>\n")
        self._file.write(b"</testsuites>\n")
        self._file.commit()
        if self._cases is not None:
            self._cases.close()

    def _copy(self, suite: _Suite) -> None:
        for place in range(0, len(suite.places), 2):
            try:
                if self._cases is None:
                    return
                self._cases.seek(suite.places[place])
                case = self._cases.read(suite.places[place + 1])
            except OSError as error:
                raise self._file.failure(error) from None
            self._file.write(case)


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
    """`text` in the characters that XML may hold (XML 1.0, 2.2), and no others; cut where it is too long. What may be a
    secret is taken out once more: pipelines show and keep what is made of it.
    """
    return "".join(each if _is_of_xml(each) else "�" for each in redact(text)[:_MOST_TEXT])


def _is_of_xml(character: str) -> bool:
    code = ord(character)
    return code in (0x9, 0xA) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000  # noqa: PLR2004
