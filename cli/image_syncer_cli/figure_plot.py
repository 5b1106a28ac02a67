"""Figures as PNG, by matplotlib, which only this and the timeline need."""

from __future__ import annotations

from io import BytesIO
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from image_syncer_cli.figure_svg import round_top, time_ticks
from image_syncer_cli.report_figures import Form
from image_syncer_cli.timeline_words import began

if TYPE_CHECKING:
    from image_syncer import RecordedReport
    from image_syncer_cli.report_figures import Figure

__all__ = ["draw_figure"]

_WIDTH_INCHES, _DPI = 11.0, 120
_LAYERS_INCHES, _ROW_INCHES = 3.4, 0.42
_COLUMNS = 2
"""Of the legend."""
_INK, _SOFT, _GRID = "#1c1d1f", "#5b5e64", "#d4d4cf"
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8d93", "#5b5e64")
"""Those of Okabe and Ito, as on the page."""
_HATCHES = ("", "--", "||", "xx")
_SHARES = ((_COLORS[0], ""), ("#e6e6e2", ""), (_COLORS[1], "--"))
"""Colour and hatching of the parts of a whole; the one in the middle is what is left."""
_LINE, _LINE_INCHES = 150, 0.17
"""Characters of a line that says what is seen, and its height."""
_LABEL, _LEGEND = 44, 64
"""Characters of a label of a row, and of a layer."""


def draw_figure(figure: Figure, recorded: RecordedReport, name: str) -> bytes:
    """The picture; `name` is that of the report's file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    rows = len(figure.tracks) if figure.form is Form.ROWS else 1
    about = wrap(figure.about, _LINE)
    above = 0.85 + len(about) * _LINE_INCHES
    if figure.form is not Form.ROWS:
        above += _legend_inches(figure)
    tall = (rows * _ROW_INCHES if figure.form is Form.ROWS else _LAYERS_INCHES) + above + 0.6
    sheet = Sheet(figsize=(_WIDTH_INCHES, tall), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(sheet)
    left, top = 0.27 if figure.form is Form.ROWS else 0.1, 1 - above / tall
    axes = sheet.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    sheet.subplots_adjust(left=left, right=0.97, top=top, bottom=0.55 / tall, hspace=0.25)
    sheet.text(0.02, 1 - 0.3 / tall, figure.title, fontsize=13, weight="bold", color=_INK)
    said = f"{name[:80]}, run of {began(recorded.report)[:40]}"
    sheet.text(0.02, 1 - 0.52 / tall, _literal(said), fontsize=8, color=_SOFT)
    for number, line in enumerate(about):
        at = 1 - (0.74 + number * _LINE_INCHES) / tall
        sheet.text(0.02, at, _literal(line), fontsize=8, color=_INK)
    if figure.form is Form.ROWS:
        _draw_rows(axes, figure)
    else:
        _draw_layers(axes[0], figure)
        _draw_legend(sheet, axes[0], 1 - (0.72 + len(about) * _LINE_INCHES) / tall)
        sheet.text(0.004, (0.55 / tall + top) / 2, figure.measure, fontsize=8, color=_SOFT, rotation=90, va="center")
    ticks = time_ticks(figure.horizon_s)
    axes[-1].set_xlim(0, figure.horizon_s or 1.0)
    axes[-1].set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axes[-1].tick_params(axis="x", labelbottom=True, colors=_SOFT, labelsize=8, length=3)
    axes[-1].set_xlabel("time since the run began", fontsize=8, color=_SOFT)
    out = BytesIO()
    sheet.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _legend_inches(figure: Figure) -> float:
    entries = len(figure.tracks) + any(figure.marks)
    return 0.1 + _LINE_INCHES * -(-entries // _COLUMNS)


def _draw_legend(sheet: Any, axis: Any, top: float) -> None:
    sheet.legend(
        *axis.get_legend_handles_labels(),
        loc="upper left",
        bbox_to_anchor=(0.013, top),
        ncols=_COLUMNS,
        fontsize=7.5,
        frameon=False,
        labelcolor=_INK,
        borderaxespad=0.2,
    )


def _draw_layers(axis: Any, figure: Figure) -> None:
    layers = [[value or 0.0 for value in track.values] for track in figure.tracks]
    edges = [piece * figure.step_s for piece in range(len(layers[0]) + 1)]
    below = [0.0] * len(layers[0])
    for place, (values, label, facts) in enumerate(zip(layers, figure.labels, figure.facts, strict=True)):
        high = [under + value for under, value in zip(below, values, strict=True)]
        color, hatch = _COLORS[place % len(_COLORS)], _HATCHES[place % len(_HATCHES)]
        if figure.form is Form.SHARE:
            color, hatch = _SHARES[place]
        axis.stairs(
            high,
            edges,
            baseline=below,
            fill=True,
            facecolor=color,
            edgecolor="white",
            hatch=hatch,
            linewidth=0,
            label=_literal(f"{label[:_LEGEND]}: {facts}"),
        )
        below = high
    most = 1.0 if figure.form is Form.SHARE else round_top(max(below))
    axis.set_ylim(0, most if figure.form is Form.SHARE else most * 1.08)
    steps = [most * part / 4 for part in range(5)]
    axis.set_yticks(steps, [figure.tell(step) for step in steps])
    axis.tick_params(axis="y", colors=_SOFT, labelsize=8, length=0)
    failed = [(piece + 0.5) * figure.step_s for piece, count in enumerate(figure.marks) if count]
    if failed:
        axis.plot(failed, [most * 1.05] * len(failed), "v", color=_INK, markersize=4, label="transfers failed")
    _clean(axis, "y")


def _draw_rows(axes: Any, figure: Figure) -> None:
    rows = [[value or 0.0 for value in track.values] for track in figure.tracks]
    for place, (axis, values) in enumerate(zip(axes, rows, strict=True)):
        edges = [piece * figure.step_s for piece in range(len(values) + 1)]
        color = _COLORS[1] if figure.labels[place].startswith("from ") else _COLORS[0]
        axis.stairs(values, edges, fill=True, color=color)
        axis.set_ylim(0, figure.top(place) * 1.05)
        axis.set_yticks([])
        _clean(axis, "x")
        axis.tick_params(axis="x", length=0, labelbottom=False)
        facts = ", ".join(part for part in (figure.facts[place], figure.most(place)) if part)
        words = f"{figure.labels[place][:_LABEL]}\n{facts[:_LABEL]}"
        at = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center", "ha": "right"}
        axis.annotate(_literal(words), (0, 0.5), xytext=(-8, 0), fontsize=7.5, color=_INK, **at)


def _clean(axis: Any, grid: str) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(_GRID)
    axis.grid(visible=True, axis=grid, color=_GRID, linewidth=0.6)
    axis.set_axisbelow(True)


def _literal(text: str) -> str:
    """`text` without what matplotlib takes for mathematics, or cannot draw."""
    return "".join(each if each.isprintable() or each == "\n" else "�" for each in text).replace("$", r"\$")
