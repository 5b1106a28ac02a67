"""Two reports compared, as one page that works offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer_cli.comparison_words import difference, judge, tell_value
from image_syncer_cli.page_parts import escape, page, section, table
from image_syncer_cli.report_page_style import STYLE
from image_syncer_cli.timeline_words import began

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from image_syncer import ImageResult, RecordedReport, ReportComparison

__all__ = ["draw_comparison_page"]

_SHOWN = 25
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
    """The page, in UTF-8; `names` are those of the two files."""
    heads = "".join(
        f"<p><b>{letter}</b>: {escape(name)} · run of {escape(began(each.report))} · "
        f"exit code {each.report.exit_code}</p>"
        for letter, name, each in zip("AB", names, recorded, strict=True)
    )
    failed, *verdicts = judge(comparison)
    bad = comparison.new_failures or comparison.lasting_failures
    kind = "verdict bad" if bad else "verdict"
    told = f'<p class="{kind}">{escape(failed)}</p>' + "".join(f"<p>{escape(text, 900)}</p>" for text in verdicts)
    parts = [f"<header><h1>Two runs compared</h1>{heads}{told}</header>"]
    parts += _facts(comparison)
    for title, images in (
        ("Failed in B, and not in A", comparison.new_failures),
        ("Failed in A, and well in B", comparison.gone_failures),
        ("Failed in A, and not part of B", comparison.dropped_failures),
    ):
        parts += _images(title, images)
    parts += _slowest(comparison)
    if comparison.settings:
        parts.append(section("Settings that differ", "", table(("setting", "A", "B"), comparison.settings[:_SHOWN])))
    return page(f"{names[0]} and {names[1]} compared", "\n".join(parts), STYLE)


def _facts(comparison: ReportComparison) -> Iterator[str]:
    rows = []
    for group, title in _GROUPS.items():
        facts = [fact for fact in comparison.facts if fact.group == group][:_SHOWN]
        rows += [
            (
                title if fact is facts[0] else "",
                fact.name,
                tell_value(fact.before, fact.unit),
                tell_value(fact.after, fact.unit),
                difference(fact),
                _MARKS[fact.change.value],
            )
            for fact in facts
        ]
    if rows:
        about = "What differs by more than 5 % is called better or worse, where the two had the same work."
        yield section("Side by side", about, table(("", "", "A", "B", "difference", ""), rows, (2, 3, 4)))


def _images(title: str, images: Iterable[ImageResult]) -> Iterator[str]:
    rows = [(f"{one.source}\n→ {one.destination}", one.reason or "no reason is known") for one in images]
    if rows:
        more = len(rows) - _SHOWN
        about = f"The first {_SHOWN}; {more:,} more are in the report." if more > 0 else ""
        yield section(f"{title}: {len(rows):,}", about, table(("image", "reason"), rows[:_SHOWN]))


def _slowest(comparison: ReportComparison) -> Iterator[str]:
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
