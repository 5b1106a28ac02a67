"""Two reports compared: in words, and as a page that works offline."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from image_syncer_cli.display.output import printable
from image_syncer_cli.display.pages import escape, page, section, table
from image_syncer_cli.display.timeline_words import began, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from image_syncer import ImageResult, RecordedReport, TransferRecord
    from image_syncer.reporting.report_comparison import ComparedFact, ReportComparison


_SHOWN_ON_A_PAGE = 25
_GROUPS = {
    "images": "Images",
    "work": "Work",
    "speed": "Speed",
    "requests": "Requests",
    "faults": "Faults",
    "machine": "Processor and memory",
}
_MARKS = {"better": "▲ better", "worse": "▼ worse", "same": "", "different": ""}


def draw_comparison_page(
    comparison: ReportComparison, recorded: tuple[RecordedReport, RecordedReport], names: tuple[str, str]
) -> bytes:
    """Return the page, in UTF-8; `names` are those of the two files."""
    heads = "".join(
        f"<p><b>{letter}</b>: {escape(name)} · run of {escape(began(each.report))} · "
        f"exit code {each.report.exit_code}</p>"
        for letter, name, each in zip("AB", names, recorded, strict=True)
    )
    failed, *verdicts = _judge(comparison)
    bad = comparison.new_failures or comparison.lasting_failures
    kind = "verdict bad" if bad else "verdict"
    told = f'<p class="{kind}">{escape(failed)}</p>' + "".join(f"<p>{escape(text, 900)}</p>" for text in verdicts)
    parts = [f"<header><h1>Two runs compared</h1>{heads}{told}</header>"]
    parts += _facts(comparison)
    for title, images in _failures(comparison):
        parts += _image_sections(title, images)
    parts += _slowest_section(comparison)
    if comparison.settings:
        parts.append(
            section("Settings that differ", "", table(("setting", "A", "B"), comparison.settings[:_SHOWN_ON_A_PAGE]))
        )
    return page(f"{names[0]} and {names[1]} compared", "\n".join(parts))


def _failures(comparison: ReportComparison) -> Iterator[tuple[str, Sequence[ImageResult]]]:
    yield "Failed in B, and not in A", comparison.new_failures
    yield "Failed in A, and well in B", comparison.gone_failures
    yield "Failed in A, and not part of B", comparison.dropped_failures


def _facts(comparison: ReportComparison) -> Iterator[str]:
    rows = []
    for group, title in _GROUPS.items():
        facts = [fact for fact in comparison.facts if fact.group == group][:_SHOWN_ON_A_PAGE]
        rows += [
            (title if fact is facts[0] else "", fact.name, *_numbers(fact), _MARKS[fact.change.value]) for fact in facts
        ]
    if rows:
        about = "What differs by more than 5 % is called better or worse, where the two had the same work."
        yield section("Side by side", about, table(("", "", "A", "B", "difference", ""), rows, (2, 3, 4)))


def _image_sections(title: str, images: Iterable[ImageResult]) -> Iterator[str]:
    rows = [(f"{one.source}\n→ {one.destination}", one.reason or "no reason is known") for one in images]
    if rows:
        more = len(rows) - _SHOWN_ON_A_PAGE
        about = f"The first {_SHOWN_ON_A_PAGE}; {more:,} more are in the report." if more > 0 else ""
        yield section(f"{title}: {len(rows):,}", about, table(("image", "reason"), rows[:_SHOWN_ON_A_PAGE]))


def _slowest_section(comparison: ReportComparison) -> Iterator[str]:
    from image_syncer.units import format_duration, format_size

    rows = [
        (
            letter,
            format_duration(record.seconds),
            format_size(max(0, record.size_bytes)),
            f"{record.source}\n→ {', '.join(record.destinations[:3])}",
        )
        for letter, records in zip("AB", comparison.slowest, strict=True)
        for record in records
    ]
    if rows:
        yield section("Slowest transfers", "", table(("", "time", "size", "from → to"), rows, (1, 2), (0,)))


_CAUTION = (
    "One run each proves nothing about speed: networks, registries and machines differ from hour to hour. Run each "
    "several times, in turn, before you believe a difference in time or rate."
)
_WIDTH = 80
_SHOWN = 5
_FACTS = 60


def tell_comparison(
    comparison: ReportComparison, recorded: tuple[RecordedReport, RecordedReport], names: tuple[str, str]
) -> str:
    """Return the comparison in lines of at most 80 columns."""
    lines = [
        _cut(f"{letter}: {printable(name)}, run of {printable(began(each.report))}, exit code {each.report.exit_code}")
        for letter, name, each in zip("AB", names, recorded, strict=True)
    ]
    lines += ["", *(line for text in _judge(comparison) for line in wrap(text, _WIDTH)), ""]
    lines += _table(comparison.facts[:_FACTS])
    for title, images in _failures(comparison):
        lines += _images(title[0].lower() + title[1:], images)
    if comparison.settings:
        lines += ["", "Settings that differ:"]
        told = [f"  {name}: {before} → {after}" for name, before, after in comparison.settings]
        lines += [_cut(printable(line)) for line in told[: 4 * _SHOWN]]
    for letter, records in zip("AB", comparison.slowest, strict=True):
        lines += _slowest(letter, records)
    return "\n".join(line.rstrip() for line in lines)


def _judge(comparison: ReportComparison) -> Iterator[str]:
    """Yield sentences on what is better, what is worse, and how far that can be trusted."""
    from image_syncer.reporting.report_comparison import Change

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
            told = "; ".join(f"{fact.name} {_difference(fact)}" for fact in [*facts, *totals])
            yield f"{word} in B: {told}."
    if not comparison.same_work:
        yield "The two did not have the same work: their times, rates, requests and processor time cannot be compared."
    yield _CAUTION


def _numbers(fact: ComparedFact) -> tuple[str, str, str]:
    return _tell_value(fact.before, fact.unit), _tell_value(fact.after, fact.unit), _difference(fact)


def _difference(fact: ComparedFact) -> str:
    """Return how much the later number is more or less: "+12 %"."""
    if fact.before == fact.after:
        return "same"
    sign = "+" if fact.after > fact.before else "−"
    if not fact.before:
        return f"{sign}{_tell_value(abs(fact.after), fact.unit)}"
    share = percent(abs(fact.after - fact.before) / fact.before)
    return share if share.startswith("<") else f"{sign}{share}"


def _tell_value(value: float, unit: str) -> str:
    """Return a number with its unit."""
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
        rows.append((printable(fact.name)[:34], *_numbers(fact), word))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells, word in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False))
        lines.append(_cut("  ".join([name.ljust(widths[0]), *numbers, word])))
    return lines


def _images(title: str, images: Sequence[ImageResult]) -> list[str]:
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
