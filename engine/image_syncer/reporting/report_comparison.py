"""Comparisons of a report: with the report of a later run, and with the estimate that was made before.

Counts of failures say something about the runs; times and rates of one run each say little: networks, registries and
machines differ from one hour to the next.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError
from image_syncer.reporting.json_file import is_number, read_json
from image_syncer.reporting.run_account import account_of_run
from image_syncer.telemetry.outcome import Outcome
from image_syncer.units import mean_rate
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.reporting.recorded_report import RecordedReport
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import TransferRecord


_USAGE = {
    "coordinator_cpu_s": "seconds",
    "workers_cpu_s": "seconds",
    "coordinator_peak_bytes": "bytes",
    "worker_peak_bytes": "bytes",
}
WORTH_NAMING = 0.05
"""The least relative difference of a time, a rate or a peak that counts."""
_ESTIMATE_HINT = "Give a file with what estimate --json wrote."


class Change(Enum):
    """The meaning of a difference."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    OTHER = "different"
    """Neither better nor worse: more images, more or fewer bytes."""


class ComparedFact(Value, frozen=True):
    """One number in both reports. `unit` is "count", "bytes", "seconds" or "bytes/s"."""

    group: str
    name: str
    before: float
    after: float
    unit: str
    change: Change


class ReportComparison(Value, frozen=True):
    """Two runs: `new_failures` failed (or were not tried) in the later run alone; `gone_failures` in the earlier run
    alone; `dropped_failures` too, and are no part of the later run. `settings` differ: name, before, after.
    """

    facts: tuple[ComparedFact, ...]
    new_failures: tuple[ImageResult, ...]
    gone_failures: tuple[ImageResult, ...]
    dropped_failures: tuple[ImageResult, ...]
    lasting_failures: int
    settings: tuple[tuple[str, str, str], ...]
    slowest: tuple[tuple[TransferRecord, ...], tuple[TransferRecord, ...]]
    same_work: bool
    """Whether both moved about the same bytes of as many images: otherwise their times cannot be compared."""
    same_report: bool = False
    """Whether both are the same report."""


def compare_reports(before: RecordedReport, after: RecordedReport) -> ReportComparison:
    """Compare two runs. Raises `ConfigurationError` where an image of a report cannot be read, or the verbs differ."""
    kinds = before.report.kind, after.report.kind
    if kinds[0] != kinds[1]:
        raise ConfigurationError(
            f"the first report is of a {kinds[0]}, the second of a {kinds[1]}: these have nothing to compare",
            hint="Give two reports of the same verb.",
        )
    failed = [{(one.source, one.destination): one for one in each.failed_images()} for each in (before, after)]
    known = {(image.source, image.destination) for image in after.images()}
    only_before = [image for key, image in failed[0].items() if key not in failed[1]]
    accounts = [account_of_run(each) for each in (before, after)]
    same_work = _is_same_work(before, after)
    return ReportComparison(
        facts=tuple(fact if same_work else _unjudged(fact) for fact in _facts(before, after)),
        new_failures=tuple(image for key, image in failed[1].items() if key not in failed[0]),
        gone_failures=tuple(image for image in only_before if (image.source, image.destination) in known),
        dropped_failures=tuple(image for image in only_before if (image.source, image.destination) not in known),
        lasting_failures=len(failed[0].keys() & failed[1].keys()),
        settings=tuple(_settings(before, after)),
        slowest=(accounts[0].slowest[:3], accounts[1].slowest[:3]),
        same_work=same_work,
        same_report=before == after,
    )


def _is_same_work(before: RecordedReport, after: RecordedReport) -> bool:
    totals = before.report.totals, after.report.totals
    counts = [(each.images, each.bytes_moved, each.blobs_moved) for each in totals]
    return all(abs(one - other) <= WORTH_NAMING * max(one, other) for one, other in zip(*counts, strict=True))


def _unjudged(fact: ComparedFact) -> ComparedFact:
    """What depends on the work is neither better nor worse where that differs."""
    return fact if fact.group == "images" or fact.change is Change.SAME else replace(fact, change=Change.OTHER)


def _facts(before: RecordedReport, after: RecordedReport) -> Iterator[ComparedFact]:
    reports = before.report, after.report
    totals = [each.totals for each in reports]
    for outcome in Outcome:
        counts = [each.outcomes.get(outcome, 0) for each in totals]
        if any(counts):
            yield _fact("images", outcome.value, counts, "count", less_is_better=True if outcome.is_failure else None)
    for name in ("bytes_moved", "blobs_moved", "blobs_mounted", "blobs_present"):
        numbers = [getattr(each, name) for each in totals]
        if any(numbers):
            yield _fact("work", name.replace("_", " "), numbers, "bytes" if name == "bytes_moved" else "count")
    yield _fact("speed", "time", [each.seconds for each in reports], "seconds", less_is_better=True)
    rates = [mean_rate(each.totals.bytes_moved, each.seconds) for each in reports]
    yield _fact("speed", "rate over the whole run", rates, "bytes/s", less_is_better=False)
    yield _fact("requests", "requests", [each.request_count for each in totals], "count", less_is_better=True)
    for kind in sorted({*totals[0].requests, *totals[1].requests}):
        counts = [each.requests.get(kind, 0) for each in totals]
        yield _fact("requests", kind, counts, "count", less_is_better=True)
    refused = [sum(data["refused"] for data in each.limits.values()) for each in reports]
    breaks = [sum(each.resumes.get(side, 0) for side in ("source", "destination")) for each in reports]
    for name, pair in (("requests refused (429)", refused), ("breaks overcome", breaks)):
        if any(pair):
            yield _fact("faults", name, pair, "count", less_is_better=True)
    for name, unit in _USAGE.items():
        if all(name in each.usage for each in reports):
            words = name.replace("_cpu_s", ": processor time").replace("_peak_bytes", ": peak memory")
            yield _fact("machine", words, [each.usage[name] for each in reports], unit, less_is_better=True)


def _fact(
    group: str, name: str, pair: Sequence[float], unit: str, *, less_is_better: bool | None = None
) -> ComparedFact:
    before, after = pair
    exact = group in ("images", "faults")
    if before == after or (not exact and abs(after - before) <= WORTH_NAMING * max(before, after)):
        change = Change.SAME
    elif less_is_better is None:
        change = Change.OTHER
    else:
        change = Change.BETTER if (after < before) is less_is_better else Change.WORSE
    return ComparedFact(group, name, before, after, unit, change)


def _settings(before: RecordedReport, after: RecordedReport) -> Iterator[tuple[str, str, str]]:
    first, second = before.report.settings, after.report.settings
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            yield str(name), str(first.get(name, "–")), str(second.get(name, "–"))


class EstimateFile(Value, frozen=True):
    """An estimate: `seconds` in half of all cases, `p90_s` in nine of ten; processor time, and memory."""

    seconds: float
    p90_s: float
    cpu_s: float
    memory_bytes: float


def load_estimate(path: str) -> EstimateFile:
    """Read what `estimate --json` wrote. Raises `ConfigurationError` where the file is something else."""
    document = read_json(path, "the estimate", _ESTIMATE_HINT)
    values = {}
    for name in ("seconds", "p90_s", "cpu_s", "memory_bytes"):
        value = document.get(name) if isinstance(document, dict) else None
        if not is_number(value):
            raise ConfigurationError(f"{path} is no estimate: {name} is no number from 0 on", hint=_ESTIMATE_HINT)
        values[name] = float(value)
    return EstimateFile(**values)
