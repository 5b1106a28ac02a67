"""Results as text: a table for each scenario, the machine above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.compare import COMPARED
from perf.figures import FIGURES
from perf.tools import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.compare import Comparison, Result
    from perf.noise import Spread

__all__ = ["format_machine", "format_ratio", "format_result", "format_rows"]

MIB = 2**20
_SCALE = {"bytes_per_s": 1e6, "peak_bytes": MIB, "coordinator_bytes": MIB, "worker_bytes": MIB}
_WITH_RANGE = ("wall_s", "cpu_s")
_SMALL_BLOB_BYTES = MIB
"""Where blobs are smaller on average, it is their number that costs."""


def format_machine(machine: dict[str, object]) -> str:
    """Three lines."""
    programs = machine["programs"]
    assert isinstance(programs, dict)
    first = f"{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, Python {machine['python']}"
    second = (
        f"sha256 alone: {machine['sha256_cpu_s_per_gb']} CPU s/GB · congestion control {machine['congestion_control']}"
        f" · {', '.join(f'{name} {version}' for name, version in programs.items())}"
    )
    return f"{first}\n{second}\n{' '.join(str(machine['pycurl']).split()[:3])}"


def format_result(result: Result) -> str:
    """The table of a scenario: a line for each tool, medians of its runs."""
    names = list(result.runs)
    spreads = {name: result.spreads(name) for name in names}
    figures = [figure for figure in _chosen(result) if any(figure in spreads[name] for name in names)]
    head = ["tool", *(FIGURES[figure].heading for figure in figures), "wall ×", "CPU ×"]
    rows = []
    for name in names:
        compared = result.compare(name)
        cells = [
            _cell(figure, spreads[name].get(figure), counted_there=_counted_there(result, name)) for figure in figures
        ]
        rows.append([name, *cells, *(format_ratio(name, compared.get(figure)) for figure in COMPARED)])
    lines = [f"{result.scenario.name}: {_describe(result)}", *format_rows([head, *rows])]
    lines += [f"  left out: {text}" for text in result.left_out]
    for name, shares in result.shares.items():
        lines.append(f"  CPU of {name} by {', '.join(f'{kind} {share:.0%}' for kind, share in shares.items())}")
    return "\n".join(lines)


def format_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first one to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _chosen(result: Result) -> list[str]:
    """The figures that say something for this kind of scenario."""
    chosen = list(FIGURES)
    wanted = result.wanted
    small = wanted.distinct_bytes < wanted.distinct_blobs * _SMALL_BLOB_BYTES
    hidden = {"switches"} if result.moves and not small else {"switches_per_gb"}
    if not result.moves:
        hidden |= {"blobs_per_cpu_s"}
    else:
        hidden |= {"cpu_us_per_tag"}
    if small:
        hidden |= {"cpu_s_per_gb"}
    elif result.moves:
        hidden |= {"blobs_per_cpu_s"}
    return [figure for figure in chosen if figure not in hidden]


def _counted_there(result: Result, name: str) -> bool:
    return not any(measured.requests for measured in result.runs[name])


def _cell(figure: str, spread: Spread | None, *, counted_there: bool) -> str:
    if spread is None:
        return "–"
    scale, form = _SCALE.get(figure, 1), FIGURES[figure].form
    text = format(spread.median / scale, form)
    if figure in _WITH_RANGE and len(spread.values) > 1:
        text += f" [{format(spread.smallest / scale, form)}–{format(spread.largest / scale, form)}]"
    if figure == "requests":
        if not spread.median:
            return "–"
        text += "*" if counted_there else ""
    return text


def format_ratio(name: str, compared: Comparison | None) -> str:
    """A tool by image-syncer, and whether that means anything."""
    if compared is None:
        return "1" if name == OURS else "–"
    mark = {"tie": " tie", "?": " ?"}.get(compared.verdict, "")
    return f"{compared.ratio:.2f}{mark}"


def _describe(result: Result) -> str:
    wanted = result.wanted
    runs = max(len(taken) for taken in result.runs.values())
    median = f"median of {runs} run{'s' if runs > 1 else ''} [smallest–largest]"
    if not wanted.images:
        return f"nothing is copied; {median}"
    places = "; ".join(f"{name}: {kind}" for name, kind in result.kinds.items())
    size = f"{wanted.distinct_blobs:,} distinct blobs, {wanted.distinct_bytes / 1e9:.3g} GB"
    return f"{wanted.images:,} images, {size}; {median}\n  {places}"
