"""Two reports compared, in words."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from image_syncer_cli.output import printable
from image_syncer_cli.timeline_words import began, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from image_syncer import ComparedFact, ImageResult, RecordedReport, ReportComparison, TransferRecord

__all__ = ["CAUTION", "difference", "judge", "tell_comparison", "tell_value"]

CAUTION = (
    "One run each proves nothing about speed: networks, registries and machines differ from hour to hour. Run each "
    "several times, in turn, before you believe a difference in time or rate."
)
_WIDTH = 80
_SHOWN = 5
_FACTS = 60


def tell_comparison(
    comparison: ReportComparison, recorded: tuple[RecordedReport, RecordedReport], names: tuple[str, str]
) -> str:
    """The comparison, several lines of at most 80 columns."""
    lines = [
        _cut(f"{letter}: {printable(name)}, run of {printable(began(each.report))}, exit code {each.report.exit_code}")
        for letter, name, each in zip("AB", names, recorded, strict=True)
    ]
    lines += ["", *(line for text in judge(comparison) for line in wrap(text, _WIDTH)), ""]
    lines += _table(comparison.facts[:_FACTS])
    for title, images in (
        ("failed in B, and not in A", comparison.new_failures),
        ("failed in A, and well in B", comparison.gone_failures),
        ("failed in A, and not part of B", comparison.dropped_failures),
    ):
        lines += _images(title, images)
    if comparison.settings:
        lines += ["", "Settings that differ:"]
        told = [f"  {name}: {before} → {after}" for name, before, after in comparison.settings]
        lines += [_cut(printable(line)) for line in told[: 4 * _SHOWN]]
    for letter, records in zip("AB", comparison.slowest, strict=True):
        lines += _slowest(letter, records)
    return "\n".join(line.rstrip() for line in lines)


def judge(comparison: ReportComparison) -> Iterator[str]:
    """What is better and what is worse, in sentences; and how far that can be trusted."""
    from image_syncer import Change

    if comparison.same_report:
        yield "Both files are the same report: there is nothing to compare."
        return
    new, gone, lasting = len(comparison.new_failures), len(comparison.gone_failures), comparison.lasting_failures
    if new or gone or lasting:
        yield f"Failures: {new:,} new in B, {gone:,} gone, {lasting:,} in both."
    else:
        yield "Nothing failed in both, and nothing is new."
    for change, word in ((Change.BETTER, "Better"), (Change.WORSE, "Worse")):
        facts = [
            fact for fact in comparison.facts if fact.change is change and fact.group in ("speed", "faults", "machine")
        ]
        totals = [fact for fact in comparison.facts if fact.change is change and fact.name == "requests"]
        if facts or totals:
            told = "; ".join(f"{fact.name} {difference(fact)}" for fact in [*facts, *totals])
            yield f"{word} in B: {told}."
    if not comparison.same_work:
        yield "The two did not have the same work: their times, rates, requests and processor time cannot be compared."
    yield CAUTION


def difference(fact: ComparedFact) -> str:
    """How much the later number is more or less: "+12 %"."""
    if fact.before == fact.after:
        return "same"
    sign = "+" if fact.after > fact.before else "−"
    if not fact.before:
        return f"{sign}{tell_value(abs(fact.after), fact.unit)}"
    share = percent(abs(fact.after - fact.before) / fact.before)
    return share if share.startswith("<") else f"{sign}{share}"


def tell_value(value: float, unit: str) -> str:
    """A number with its unit, as people read it."""
    from image_syncer.units import format_duration, format_rate, format_size

    tellers: dict[str, Callable[[float], str]] = {
        "bytes": format_size,
        "bytes/s": format_rate,
        "seconds": format_duration,
    }
    return tellers[unit](value) if unit in tellers else f"{value:,.0f}"


def _table(facts: Iterable[ComparedFact]) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "A", "B", "", "")]
    for fact in facts:
        word: str = fact.change.value if fact.change.value in ("better", "worse") else ""
        name = printable(fact.name)[:34]
        rows.append(
            (name, tell_value(fact.before, fact.unit), tell_value(fact.after, fact.unit), difference(fact), word)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells, word in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False))
        lines.append(_cut("  ".join([name.ljust(widths[0]), *numbers, word])))
    return lines


def _images(title: str, images: tuple[ImageResult, ...]) -> list[str]:
    if not images:
        return []
    lines = ["", f"{len(images):,} {title}:"]
    for image in images[:_SHOWN]:
        lines.append(_cut(f"  {printable(image.source)} → {printable(image.destination)}"))
        if image.reason:
            lines.append(_cut(f"    {printable(image.reason)}"))
    if len(images) > _SHOWN:
        lines.append(f"  … and {len(images) - _SHOWN:,} more")
    return lines


def _slowest(letter: str, records: tuple[TransferRecord, ...]) -> list[str]:
    from image_syncer.units import format_duration, format_size

    if not records:
        return []
    lines = ["", f"Slowest in {letter}:"]
    for record in records:
        size = format_size(max(0, record.size_bytes))
        names = f"{printable(record.source)} → {printable(record.destinations[0])}"
        lines.append(_cut(f"  {format_duration(record.seconds)}  {size}  {names}"))
    return lines


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
