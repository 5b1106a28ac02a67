"""An estimate as a picture, by matplotlib: the time by workers, hosts and bandwidth, and what would change it."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import Question

__all__ = ["draw_estimate"]

_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 11.0, 7.2, 120
_INK, _SOFT, _GRID = "#1c1d1f", "#5b5e64", "#d4d4cf"
_LINE, _BAND, _BARS = "#0072b2", "#56b4e9", "#009e73"
"""Of Okabe and Ito: told apart by people who see colours differently."""
MOST_WORKERS = 16
HOSTS = (1, 2, 4, 8)
LINKS = (0.25, 0.5, 1.0, 2.0)
"""Times the link, or the rate that the run takes where no link is given."""

_Points = list[tuple[float, float, float]]


def draw_estimate(question: Question, name: str) -> bytes:
    """The picture; `name` is that of the plan's file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from image_syncer import what_if
    from image_syncer.units import format_duration, format_rate

    sheet = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(sheet)
    grid = sheet.add_gridspec(2, 3, left=0.06, right=0.98, top=0.84, bottom=0.09, wspace=0.25, hspace=0.6)
    lines = [sheet.add_subplot(grid[0, column]) for column in range(3)]
    below = grid[1, :].subgridspec(1, 2, width_ratios=(0.35, 1), wspace=0.02)
    changes = sheet.add_subplot(below[1])
    sheet.text(0.02, 0.95, "How long the plan takes", fontsize=13, weight="bold", color=_INK)
    sheet.text(0.02, 0.915, name[:80].replace("$", r"\$"), fontsize=8, color=_SOFT)
    curves: tuple[tuple[str, _Points, Callable[[float], str]], ...] = (
        ("workers", _by_workers(question), "{:g}".format),
        ("hosts that divide the images", _by_hosts(question), "{:g}".format),
        ("bandwidth of the link", _by_bandwidth(question), format_rate),
    )
    for axis, (label, found, word) in zip(lines, curves, strict=True):
        at, half, most = ([point[part] for point in found] for part in range(3))
        axis.fill_between(at, half, most, color=_BAND, alpha=0.4)
        axis.plot(at, half, color=_LINE, marker="o", label="half of all runs")
        axis.plot(at, most, color=_LINE, linestyle="--", label="nine of ten runs")
        axis.set_xscale("log", base=2)
        axis.set_xticks(at, [word(one) for one in at], fontsize=8)
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel(label, fontsize=9, color=_SOFT)
        axis.grid(color=_GRID, linewidth=0.6)
    lines[0].set_ylabel("seconds", fontsize=9, color=_SOFT)
    lines[0].legend(fontsize=8, frameon=False)
    rows = [("as asked", question.forecast().seconds), *((one.change, one.seconds) for one in what_if(question))]
    places = range(len(rows))
    changes.barh(places, [seconds for _, seconds in rows], color=_BARS, height=0.6)
    changes.set_yticks(places, [change for change, _ in rows], fontsize=8)
    changes.invert_yaxis()
    changes.margins(x=0.2)
    for place, (_, seconds) in enumerate(rows):
        changes.text(seconds, place, f" {format_duration(seconds)}", va="center", fontsize=8, color=_INK)
    changes.set_xlabel("seconds", fontsize=9, color=_SOFT)
    for axis in (*lines, changes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=_SOFT, labelsize=8)
    out = BytesIO()
    sheet.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _by_workers(question: Question) -> _Points:
    workers = [number for number in (1, 2, 4, 8, 16) if number <= max(2, min(MOST_WORKERS, 4 * question.host.cores))]
    sketch = question.sketch
    changed = [replace(sketch, settings=replace(sketch.settings, workers=one)) for one in workers]
    return [(number, one.seconds, one.p90_s) for number, one in zip(workers, changed, strict=True)]


def _by_hosts(question: Question) -> _Points:
    from image_syncer import divided

    changed = [divided(question, hosts).sketch for hosts in HOSTS]
    return [(number, one.seconds, one.p90_s) for number, one in zip(HOSTS, changed, strict=True)]


def _by_bandwidth(question: Question) -> _Points:
    sketch = question.sketch
    done = sketch.forecast()
    rate = question.host.link_bytes_per_s or max(1.0, done.bytes_moved / max(done.seconds, 1e-3))
    links = [factor * rate for factor in LINKS]
    changed = [replace(sketch, host=replace(sketch.host, link_bytes_per_s=link)) for link in links]
    return [(link, one.seconds, one.p90_s) for link, one in zip(links, changed, strict=True)]
