"""Two reports compared: what is better in the later one, what is worse, and which failures are new.

Arithmetic over two `RecordedReport`s. Counts of failures say something about the runs; times and rates of one run each
do not: networks, registries and machines differ from one hour to the next.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError
from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.run_account import account_of_run
from image_syncer.units import mean_rate
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.recorded_report import RecordedReport
    from image_syncer.telemetry.transfer_record import TransferRecord

__all__ = ["Change", "ComparedFact", "ReportComparison", "compare_reports"]

_USAGE = {
    "coordinator_cpu_s": "seconds",
    "workers_cpu_s": "seconds",
    "coordinator_peak_bytes": "bytes",
    "worker_peak_bytes": "bytes",
}
WORTH_NAMING = 0.05
"""Of a time, a rate or a peak: what differs by less is called the same."""


class Change(Enum):
    """What a difference means."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    OTHER = "different"
    """Neither better nor worse: more images, another amount of bytes."""


class ComparedFact(Value, frozen=True):
    """One number of both reports. `unit` is "count", "bytes", "seconds" or "bytes/s"."""

    group: str
    name: str
    before: float
    after: float
    unit: str
    change: Change


class ReportComparison(Value, frozen=True):
    """`new_failures` failed (or were not tried) in the later run alone, `gone_failures` in the earlier one alone and
    are there now; `dropped` failed before and are no part of the later run. `settings` differ: name, before, after.
    """

    facts: tuple[ComparedFact, ...]
    new_failures: tuple[ImageResult, ...]
    gone_failures: tuple[ImageResult, ...]
    dropped_failures: tuple[ImageResult, ...]
    lasting_failures: int
    settings: tuple[tuple[str, str, str], ...]
    slowest: tuple[tuple[TransferRecord, ...], tuple[TransferRecord, ...]]
    same_work: bool
    """Whether both moved about the same bytes of the same images: else their times say nothing about each other."""
    same_report: bool = False
    """Whether both are one and the same."""


def compare_reports(before: RecordedReport, after: RecordedReport) -> ReportComparison:
    """The comparison. Raises `ConfigurationError` where an image of a report is none, or one is of a verification (or
    of a prune) and the other is not: what failed in one could not even fail in the other.
    """
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
    """What depends on the work is neither better nor worse where that was another."""
    if fact.group == "images" or fact.change is Change.SAME:
        return fact
    return replace(fact, change=Change.OTHER)


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
