"""An estimate as a picture, by matplotlib: the time by the number of workers, and what would change it."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer import Question

__all__ = ["draw_estimate"]

_WIDTH_INCHES, _HEIGHT_INCHES, _DPI = 11.0, 4.2, 120
_INK, _SOFT, _GRID = "#1c1d1f", "#5b5e64", "#d4d4cf"
_LINE, _BAND, _BARS = "#0072b2", "#56b4e9", "#009e73"
"""Of Okabe and Ito: told apart by people who see colours differently."""
MOST_WORKERS = 16


def draw_estimate(question: Question, name: str) -> bytes:
    """The picture; `name` is that of the plan's file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from image_syncer import estimate, what_if
    from image_syncer.units import format_duration

    workers = [number for number in (1, 2, 4, 8, 16) if number <= max(2, min(MOST_WORKERS, 4 * question.host.cores))]
    found = [estimate(replace(question, settings=replace(question.settings, workers=one))) for one in workers]
    sheet = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(sheet)
    by_workers, changes = sheet.subplots(1, 2, width_ratios=(1, 1.1))
    sheet.subplots_adjust(left=0.07, right=0.98, top=0.8, bottom=0.14, wspace=0.85)
    sheet.text(0.02, 0.93, "How long the plan takes", fontsize=13, weight="bold", color=_INK)
    sheet.text(0.02, 0.87, name[:80].replace("$", r"\$"), fontsize=8, color=_SOFT)
    by_workers.fill_between(
        workers, [one.seconds for one in found], [one.p90_s for one in found], color=_BAND, alpha=0.4
    )
    by_workers.plot(workers, [one.seconds for one in found], color=_LINE, marker="o", label="half of all runs")
    by_workers.plot(workers, [one.p90_s for one in found], color=_LINE, linestyle="--", label="nine of ten runs")
    by_workers.set_xscale("log", base=2)
    by_workers.set_xticks(workers, [str(one) for one in workers])
    by_workers.set_ylim(bottom=0)
    by_workers.set_xlabel("workers", fontsize=9, color=_SOFT)
    by_workers.set_ylabel("seconds", fontsize=9, color=_SOFT)
    by_workers.grid(color=_GRID, linewidth=0.6)
    by_workers.legend(fontsize=8, frameon=False)
    rows = [("as asked", question.forecast().seconds), *((one.change, one.seconds) for one in what_if(question))]
    places = range(len(rows))
    changes.barh(places, [seconds for _, seconds in rows], color=_BARS, height=0.6)
    changes.set_yticks(places, [change for change, _ in rows], fontsize=8)
    changes.invert_yaxis()
    changes.margins(x=0.2)
    for place, (_, seconds) in enumerate(rows):
        changes.text(seconds, place, f" {format_duration(seconds)}", va="center", fontsize=8, color=_INK)
    changes.set_xlabel("seconds", fontsize=9, color=_SOFT)
    for axis in (by_workers, changes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=_SOFT, labelsize=8)
    out = BytesIO()
    sheet.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
