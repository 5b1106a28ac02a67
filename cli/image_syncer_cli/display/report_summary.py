"""A report in words: as much as fits into 80 columns and one screen."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from image_syncer_cli.display.output import can_show, printable
from image_syncer_cli.display.timeline_words import (
    add_waits,
    began,
    keep_numbers,
    percent,
    plural,
    ring_transfers,
    transfer_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from image_syncer import ImageResult, RecordedReport, TransferRecord
    from image_syncer.reporting.run_account import FailureGroup
    from image_syncer.reporting.timeline import Timeline


_WIDTH = 80
_LABEL = 11
_SLOWEST = 5
_FAILURES = 3
_CAUSES = 6
_LIMITS = 3
_WORKERS = 32
"""Workers shown one by one; more would be no summary."""
_DIGEST = 8
"""Hexadecimal digits of a digest that are shown."""
_BUSY_COLUMNS = 28
_BLOCKS = " ▁▂▃▄▅▆▇█"
_PLAIN_BLOCKS = " .:-=+*#%"
"""For terminals that have no block characters."""


def summarize(recorded: RecordedReport) -> str:
    """Return the summary."""
    from image_syncer.reporting.timeline import Timeline

    lines = [*_head(recorded), ""]
    lines += _labelled(_facts(recorded))
    if recorded.transfers:
        timeline = Timeline(recorded.transfers, recorded.report.seconds)
        lines += _labelled(_transfer_facts(timeline, recorded))
        lines += ["", *_workers(timeline, recorded), "", *_slowest(timeline)]
    elif recorded.report.kind == "sync":
        lines += _labelled([("Transfers", "none are in this report: nothing moved, or an old release wrote it")])
    lines += _failures(recorded)
    return "\n".join(line.rstrip() for line in lines)


def _head(recorded: RecordedReport) -> list[str]:
    from image_syncer.units import format_duration

    report = recorded.report
    what = {"verify": "Verification", "prune": "Prune"}.get(report.kind, "Run")
    parts = [f"{what} of {printable(began(report))}", format_duration(report.seconds), f"exit code {report.exit_code}"]
    if report.interrupted is not None:
        parts.insert(2, f"interrupted ({printable(report.interrupted)})")
    if report.internal_error is not None:
        parts.append("internal error")
    return [_cut(" · ".join(parts), _WIDTH)]


def _facts(recorded: RecordedReport) -> Iterator[tuple[str, str]]:
    from image_syncer import Outcome
    from image_syncer.units import format_rate, format_size, mean_rate

    totals, seconds = recorded.report.totals, recorded.report.seconds
    counts = [f"{totals.outcomes[outcome]:,} {outcome}" for outcome in Outcome if totals.outcomes.get(outcome)]
    yield "Images", f"{totals.images:,}" + (f": {', '.join(counts)}" if counts else "")
    if recorded.report.kind == "verify":
        yield "Checked", f"{totals.manifests_checked:,} manifests, {totals.blobs_checked:,} blobs"
        yield "Read", format_size(totals.bytes_read)
        yield "Differ", plural(totals.differences, "difference")
        yield from _requests_and_warnings(recorded)
        return
    if recorded.pruned is not None:
        told = [f"{count:,} {printable(outcome)}" for outcome, count in sorted(recorded.pruned.items())]
        yield "Pruned", ", ".join(told) or "nothing"
    if recorded.report.kind == "prune":
        yield from _requests_and_warnings(recorded)
        return
    if totals.outcomes.get(Outcome.PLANNED):
        yield "To copy", format_size(totals.bytes_planned)
    rate = mean_rate(totals.bytes_moved, seconds)
    over = f", {format_rate(rate)} over the whole run" if rate else ""
    yield "Moved", f"{format_size(totals.bytes_moved)}{over}"
    kept = f"{totals.blobs_mounted:,} mounted, {totals.blobs_present:,} already there"
    yield "Blobs", f"{totals.blobs_moved:,} moved, {kept}"
    yield from _requests_and_warnings(recorded)


def _requests_and_warnings(recorded: RecordedReport) -> Iterator[tuple[str, str]]:
    from image_syncer.units import format_size

    totals = recorded.report.totals
    kinds = sorted(totals.requests.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{count:,} {printable(kind)}" for kind, count in kinds if count)
    yield "Requests", f"{totals.request_count:,}" + (f": {listed}" if listed else "")
    for mirror, data in recorded.report.mirrors.items():
        failed = f", and failed {data['failures']:,} times" if data["failures"] else ""
        yield "Mirror", f"{printable(mirror)} gave {format_size(data['bytes'])}{failed}"
    if rate := recorded.report.settings.get("rate"):
        yield "Rate", f"no more than {printable(str(rate))}"
    limits = recorded.report.limit_lines()
    for line in limits[:_LIMITS]:
        yield "Limit", printable(line)
    if len(limits) > _LIMITS:
        yield "", f"… and {len(limits) - _LIMITS:,} more registries had limits"
    for warning in recorded.report.warnings:
        yield "Warning", printable(warning)


def _transfer_facts(timeline: Timeline, recorded: RecordedReport) -> Iterator[tuple[str, str]]:
    from image_syncer.units import format_duration

    records = timeline.records
    span, most = format_duration(timeline.span_s), timeline.most_at_once
    yield "Transfers", f"{len(records):,} in {span}, at most {most:,} at once"
    tail = f"{format_duration(timeline.tail_s)} ({percent(timeline.tail_share)})"
    yield "Tail", f"the last transfer ran alone for {tail}"
    yield "Waiting", _waiting_text(recorded)
    resumed = sum(bool(record.source_resumes or record.destination_resumes) for record in records)
    failed = sum(record.outcome == "failed" for record in records)
    told = (f"{plural(resumed, 'transfer')} broke off and went on", f"{failed:,} failed")
    if resumed or failed:
        yield "Faults", ", ".join(text for text, count in zip(told, (resumed, failed), strict=True) if count)


def _waiting_text(recorded: RecordedReport) -> str:
    """Return which side the transfers waited for, in two sentences."""
    from image_syncer.units import format_duration

    records, small = ring_transfers(recorded)
    waits = add_waits(records)
    if not waits.noted:
        return "no waits were noted"
    verdict = {
        "destination": "The destination was the slow side.",
        "source": "The source was the slow side.",
        "both": "Neither side was faster all the time.",
        None: "Neither side held the other up much.",
    }[waits.side]
    paused, starved = (
        f"{format_duration(waited_s)} ({waits.share(waited_s)})"
        for waited_s in (waits.source_waited_s, waits.destination_waited_s)
    )
    of = f"of blobs of more than {small}, " if small else ""
    return f"{of}downloads waited {paused} for destinations, uploads {starved} for sources. {verdict}"


def _workers(timeline: Timeline, recorded: RecordedReport) -> list[str]:
    from image_syncer.units import format_size

    blocks = _BLOCKS if can_show(_BLOCKS) else _PLAIN_BLOCKS
    rows = [("Worker", "moved", "transfers", "streams", "idle", "transfers under way, over time")]
    most = max(max(timeline.curve(_BUSY_COLUMNS, lane.records).transfers) for lane in timeline.workers[:_WORKERS])
    for lane in timeline.workers[:_WORKERS]:
        under_way = timeline.curve(_BUSY_COLUMNS, lane.records).transfers
        picture = "".join(_block(value / most if most else 0.0, blocks) for value in under_way)
        counts = (format_size(lane.bytes_moved), f"{len(lane.records):,}", f"{lane.streams:,}")
        rows.append((f"{lane.worker:,}", *counts, percent(lane.idle_share), f"|{picture}|"))
    lines = _table(rows, left=frozenset({5}))
    more = len(timeline.workers) - _WORKERS
    if more > 0:
        lines.append(f"… and {more:,} more workers")
    asked = recorded.report.settings.get("workers")
    unused = asked - len(timeline.workers) if isinstance(asked, int) else 0
    if unused > 0:
        lines.append(f"{plural(unused, 'worker')} had nothing to move.")
    return lines


def _block(share: float, blocks: str) -> str:
    """Return a character as high as `share`; a share above zero is visible."""
    steps = len(blocks) - 1
    return blocks[min(steps, max(1, round(share * steps)))] if share > 0 else blocks[0]


def _slowest(timeline: Timeline) -> list[str]:
    records = timeline.slowest(_SLOWEST)
    rows = [("Slowest", "size", "rate", "worker", "waited for", "blob and destination")]
    for record in records:
        seconds, size, rate, _ = transfer_words(record)
        rows.append((seconds, size, rate, f"{record.worker:,}", _waited_for(record), ""))
    taken = sum(max(map(len, column)) + 2 for column in list(zip(*rows, strict=True))[:-1])
    names = [rows[0][-1], *(_blob(record, _WIDTH - taken) for record in records)]
    return _table([(*row[:-1], name) for row, name in zip(rows, names, strict=True)], left=frozenset({4, 5}))


def _waited_for(record: TransferRecord) -> str:
    """Return which side held a transfer up, and for what part of its time."""
    from image_syncer.reporting.timeline import slow_side

    side = slow_side(record.source_waited_s, record.destination_waited_s, record.seconds)
    if side is None or not record.seconds:
        return "neither"
    waited_s = max(record.source_waited_s, record.destination_waited_s)
    return f"{side} {percent(min(1.0, waited_s / record.seconds))}"


def _blob(record: TransferRecord, width: int) -> str:
    """Return digest and first destination; a long name loses its beginning."""
    digest = printable(record.digest.rpartition(":")[2][:_DIGEST])
    more = f" + {len(record.destinations) - 1}" if len(record.destinations) > 1 else ""
    name = printable(record.destinations[0])
    room = max(1, width - len(digest) - 1 - len(more))
    return f"{digest} {name if len(name) <= room else '…' + name[len(name) - room + 1 :]}{more}"


def _failures(recorded: RecordedReport) -> list[str]:
    from image_syncer import Outcome
    from image_syncer.reporting.run_account import FailureGroups

    causes = FailureGroups()
    shown: list[ImageResult] = []
    count = 0
    for image in recorded.failed_images():
        causes.add(image)
        if image.outcome is not Outcome.NOT_TRIED:
            count += 1
            if len(shown) < _FAILURES:
                shown.append(image)
    lines = [""] if shown else []
    for image in shown:
        lines.append(_cut(f"{image.outcome}: {printable(image.source)} → {printable(image.destination)}", _WIDTH))
        reason = printable(image.reason or "no reason is known")
        told = wrap(reason, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
        lines += [_cut(f"  {line}", _WIDTH) for line in told[:3]]
    if count > len(shown):
        word = "" if recorded.report.kind == "verify" else " failed"
        lines.append(f"… and {count - len(shown):,} more{word}, each with its reason in the report.")
    groups = causes.groups()
    if len(groups) > 1 or count > len(shown):
        lines += _causes(groups)
    return lines


def _causes(groups: Sequence[FailureGroup]) -> Iterator[str]:
    """Yield all failures by cause."""
    yield ""
    yield "All failures by cause:"
    for group in groups[:_CAUSES]:
        yield _cut(f"{group.count:>7,} × {printable(group.cause)}", _WIDTH)
    if len(groups) > _CAUSES:
        yield f"… and {len(groups) - _CAUSES:,} more causes."


def _labelled(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    for label, text in facts:
        kept = wrap(keep_numbers(text), _WIDTH - _LABEL, break_on_hyphens=False)
        lines = [line.replace("\u00a0", " ") for line in kept] or [""]
        yield f"{label:<{_LABEL}}{lines[0]}"
        yield from (" " * _LABEL + line for line in lines[1:])


def _table(rows: Sequence[tuple[str, ...]], left: frozenset[int]) -> list[str]:
    """Return columns two blanks apart, right-aligned except those in `left`; the last one is cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_cut("  ".join(cells).rstrip(), _WIDTH))
    return lines


def _cut(line: str, width: int) -> str:
    """Return `line` in at most `width` characters."""
    return line if len(line) <= width else f"{line[: width - 1]}…"
