"""All scenarios of a run in one table: a row for each scenario, a column for each tool; as text and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.compare import COMPARED, Comparison
from perf.table import format_machine, format_ratio, format_rows
from perf.tools import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.compare import Result

__all__ = ["format_markdown", "format_text"]

_THREE_DIGITS_BELOW_S = 0.1
_NONE = "–"


def format_text(results: Sequence[Result], fraction: float = 1.0) -> str:
    """The tables for a terminal; `fraction` is the part of each scenario that was run."""
    tables = [_tools(results), _references(results)]
    parts = [_legend(results, fraction), *("\n".join(format_rows(rows)) for rows in tables if len(rows) > 1)]
    return "\n\n".join([*parts, *_left_out(results)])


def format_markdown(results: Sequence[Result], machine: dict[str, object], fraction: float = 1.0) -> str:
    """The same for a document, with the machine."""
    tables = [_tools(results, explained=True), _references(results)]
    parts = [_legend(results, fraction), *(_markdown(rows) for rows in tables if len(rows) > 1), *_left_out(results)]
    return "\n\n".join([*parts, format_machine(machine)]) + "\n"


def _legend(results: Sequence[Result], fraction: float) -> str:
    runs = max((len(taken) for result in results for taken in result.runs.values()), default=0)
    median = f"median of {runs} runs in turn" if runs > 1 else "one run"
    part = "" if fraction == 1 else f" Only {fraction:g} of each scenario was run: these figures prove nothing."
    return f"Wall s / CPU s of the tool's own processes, {median}; in brackets both divided by image-syncer's.{part}"


def _left_out(results: Sequence[Result]) -> list[str]:
    """Which tools did not finish a scenario. The scenario's own table has the reason, which may name local paths."""
    said = {
        f"{text.split(maxsplit=1)[0].rstrip(':')} in {result.scenario.name}": None
        for result in results
        for text in result.left_out
    }
    return [f"Left out: {', '.join(said)}."] if said else []


def _tools(results: Sequence[Result], *, explained: bool = False) -> list[list[str]]:
    names = list(dict.fromkeys(name for result in results for name in result.runs if not _is_reference(result, name)))
    rows = [["scenario", *names]]
    for result in results:
        scenario = result.scenario
        title = f"`{scenario.name}`: {scenario.work}" if explained and scenario.work else scenario.name
        rows.append([title, *(_cell(result, name) for name in names)])
    return rows


def _references(results: Sequence[Result]) -> list[list[str]]:
    rows = [["scenario", "reference", "wall / CPU", f"{OURS} by it"]]
    for result in results:
        for name in result.runs:
            compared = result.compare(name)
            if _is_reference(result, name) and len(compared) == len(COMPARED):
                turned = [Comparison(1 / compared[figure].ratio, compared[figure].verdict) for figure in COMPARED]
                ratios = " / ".join(format_ratio(OURS, found) for found in turned)
                rows.append([result.scenario.name, name, _seconds(result, name), ratios])
    return rows


def _is_reference(result: Result, name: str) -> bool:
    return name in result.scenario.references


def _cell(result: Result, name: str) -> str:
    if not result.runs.get(name):
        return _NONE
    compared = result.compare(name)
    ratios = " / ".join(format_ratio(name, compared[figure]) for figure in COMPARED if figure in compared)
    return f"{_seconds(result, name)} ({ratios})" if ratios else _seconds(result, name)


def _seconds(result: Result, name: str) -> str:
    medians = [result.spreads(name)[figure].median for figure in COMPARED]
    return " / ".join(f"{median:.{3 if median < _THREE_DIGITS_BELOW_S else 2}f}" for median in medians)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
