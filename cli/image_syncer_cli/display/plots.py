"""Pictures as PNG: the figures of a run, and its timeline. matplotlib is loaded only here."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from image_syncer_cli.display.figures import Form, round_top, time_ticks
from image_syncer_cli.display.timeline_words import (
    began,
    destination_registries,
    heaviest_destinations,
    percent,
    plural,
)

if TYPE_CHECKING:
    from image_syncer import RecordedReport, TransferRecord
    from image_syncer.reporting.timeline import Timeline, WorkerLane
    from image_syncer_cli.display.figures import Figure


INK, SOFT, GRID = "#1c1d1f", "#5b5e64", "#d4d4cf"
_FIGURE_INCHES, _FIGURE_DPI = 11.0, 120
_LAYERS_INCHES, _ROW_INCHES = 3.4, 0.42
_LEGEND_COLUMNS = 2
_LAYER_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8d93", "#5b5e64")
"""Those of Okabe and Ito, as on the page."""
_HATCHES = ("", "--", "||", "xx")
_SHARES = ((_LAYER_COLORS[0], ""), ("#e6e6e2", ""), (_LAYER_COLORS[1], "--"))
"""Colour and hatching of the parts of a whole; the middle one is the rest."""
_LINE, _LINE_INCHES = 150, 0.17
"""Characters of a line of explanation, and its height."""
_LABEL, _LEGEND = 44, 64
"""Characters of the label of a row, and of a layer."""

_TIMELINE_INCHES, _TIMELINE_DPI = 13.0, 150
_PLOT_SHARE = 0.84
"""Of the width: the rest has the names of the workers."""
_PIECES = 1200
_MAX_WORKERS = 64
"""A taller picture is more than image viewers show."""
_MAX_LANES_INCHES = 22.0
_LANE_INCHES = (0.012, 0.11)
"""The least and the most height of one lane."""
_PALE, _LIGHT_GRID, _EMPTY = "#62656b", "#e3e3df", "#f4f4f1"
_FAILED, _REST = "#d1242f", "#a4a7ad"
_HUES = ("#2a78d6", "#14a37f", "#e0a100", "#6a4fc4", "#d9679a", "#e8702a", "#4f8a10")
_OUTCOMES = {"moved": _HUES[0], "mounted": _HUES[1], "present": _REST, "split off": _HUES[2]}

_INSTEAD = {
    "--timeline": "or give --timeline a name that ends in .html",
    "--plot": "or let --html PAGE draw all figures",
    "estimate --plot": "or leave the option out: the table says the same",
}


def require_matplotlib(option: str) -> None:
    """Raise `ConfigurationError` if matplotlib, which `option` needs, is missing."""
    if find_spec("matplotlib") is None:
        from image_syncer import ConfigurationError

        raise ConfigurationError(
            "a .png needs matplotlib, which is not installed",
            hint=f"Install it with pip install 'image-syncer[plots]', {_INSTEAD[option]}.",
        )


def open_sheet(width_inches: float, height_inches: float, dpi: int) -> Any:
    """Return an empty picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    sheet = Sheet(figsize=(width_inches, height_inches), dpi=dpi, facecolor="white")
    FigureCanvasAgg(sheet)
    return sheet


def to_png(sheet: Any) -> bytes:
    """Return the finished picture."""
    out = BytesIO()
    sheet.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _draw_time(axis: Any, horizon_s: float, color: str) -> None:
    ticks = time_ticks(horizon_s)
    axis.set_xlim(0, horizon_s or 1.0)
    axis.set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axis.tick_params(axis="x", labelbottom=True, colors=color, labelsize=8, length=3)
    axis.set_xlabel("time since the run began", fontsize=8, color=color)


def _clean(axis: Any, grid: str, color: str = GRID) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(color)
    axis.grid(visible=True, axis=grid, color=color, linewidth=0.6, zorder=0)
    axis.set_axisbelow(True)


def _literal(text: str) -> str:
    """Return `text` without what matplotlib takes for mathematics, or cannot draw."""
    return "".join(each if each.isprintable() or each == "\n" else "�" for each in text).replace("$", r"\$")


def draw_figure(figure: Figure, recorded: RecordedReport, name: str) -> bytes:
    """Return the picture; `name` is that of the report's file."""
    rows = len(figure.tracks) if figure.form is Form.ROWS else 1
    about = wrap(figure.about, _LINE)
    above = 0.85 + len(about) * _LINE_INCHES
    if figure.form is not Form.ROWS:
        above += _legend_height(figure)
    tall = (rows * _ROW_INCHES if figure.form is Form.ROWS else _LAYERS_INCHES) + above + 0.6
    sheet = open_sheet(_FIGURE_INCHES, tall, _FIGURE_DPI)
    left, top = 0.27 if figure.form is Form.ROWS else 0.1, 1 - above / tall
    axes = sheet.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    sheet.subplots_adjust(left=left, right=0.97, top=top, bottom=0.55 / tall, hspace=0.25)
    sheet.text(0.02, 1 - 0.3 / tall, figure.title, fontsize=13, weight="bold", color=INK)
    said = f"{name[:80]}, run of {began(recorded.report)[:40]}"
    sheet.text(0.02, 1 - 0.52 / tall, _literal(said), fontsize=8, color=SOFT)
    for number, line in enumerate(about):
        at = 1 - (0.74 + number * _LINE_INCHES) / tall
        sheet.text(0.02, at, _literal(line), fontsize=8, color=INK)
    if figure.form is Form.ROWS:
        _draw_rows(axes, figure)
    else:
        _draw_layers(axes[0], figure)
        _draw_legend(sheet, axes[0], 1 - (0.72 + len(about) * _LINE_INCHES) / tall)
        sheet.text(0.004, (0.55 / tall + top) / 2, figure.measure, fontsize=8, color=SOFT, rotation=90, va="center")
    _draw_time(axes[-1], figure.horizon_s, SOFT)
    return to_png(sheet)


def _legend_height(figure: Figure) -> float:
    entries = len(figure.tracks) + any(figure.marks)
    return 0.1 + _LINE_INCHES * -(-entries // _LEGEND_COLUMNS)


def _draw_legend(sheet: Any, axis: Any, top: float) -> None:
    sheet.legend(
        *axis.get_legend_handles_labels(),
        loc="upper left",
        bbox_to_anchor=(0.013, top),
        ncols=_LEGEND_COLUMNS,
        fontsize=7.5,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0.2,
    )


def _draw_layers(axis: Any, figure: Figure) -> None:
    layers = [[value or 0.0 for value in track.values] for track in figure.tracks]
    edges = [piece * figure.step_s for piece in range(len(layers[0]) + 1)]
    below = [0.0] * len(layers[0])
    for place, (values, label, facts) in enumerate(zip(layers, figure.labels, figure.facts, strict=True)):
        high = [under + value for under, value in zip(below, values, strict=True)]
        color, hatch = _LAYER_COLORS[place % len(_LAYER_COLORS)], _HATCHES[place % len(_HATCHES)]
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
    axis.tick_params(axis="y", colors=SOFT, labelsize=8, length=0)
    failed = [(piece + 0.5) * figure.step_s for piece, count in enumerate(figure.marks) if count]
    if failed:
        axis.plot(failed, [most * 1.05] * len(failed), "v", color=INK, markersize=4, label="transfers failed")
    _clean(axis, "y")


def _draw_rows(axes: Any, figure: Figure) -> None:
    rows = [[value or 0.0 for value in track.values] for track in figure.tracks]
    for place, (axis, values) in enumerate(zip(axes, rows, strict=True)):
        edges = [piece * figure.step_s for piece in range(len(values) + 1)]
        color = _LAYER_COLORS[1] if figure.labels[place].startswith("from ") else _LAYER_COLORS[0]
        axis.stairs(values, edges, fill=True, color=color)
        axis.set_ylim(0, figure.top(place) * 1.05)
        axis.set_yticks([])
        _clean(axis, "x")
        axis.tick_params(axis="x", length=0, labelbottom=False)
        words = f"{figure.labels[place][:_LABEL]}\n{figure.all_facts(place)[:_LABEL]}"
        at = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center", "ha": "right"}
        axis.annotate(_literal(words), (0, 0.5), xytext=(-8, 0), fontsize=7.5, color=INK, **at)


def draw_plot(recorded: RecordedReport, name: str) -> bytes:
    """Return the picture; `name` is that of the report's file. There must be a transfer."""
    from image_syncer.reporting.timeline import Timeline

    timeline = Timeline(recorded.transfers, recorded.report.seconds)
    colors = _Colors(timeline)
    workers = timeline.workers[:_MAX_WORKERS]
    heights = [1.0, 1.0, *_lane_heights(workers)]
    figure = open_sheet(_TIMELINE_INCHES, sum(heights) + 1.7, _TIMELINE_DPI)
    axes = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    _draw_title(figure, recorded, timeline, name, sum(heights) + 1.7)
    curve = timeline.curve(_PIECES)
    _draw_curve(axes[0], curve.step_s, curve.bytes_per_s, "Throughput", "at most {}/s", _HUES[0])
    _draw_curve(axes[1], curve.step_s, curve.bytes_in_flight, "In flight", "blobs of at most {}", _HUES[1])
    for axis, lane in zip(axes[2:], workers, strict=True):
        _draw_lane(axis, lane, colors, timeline.horizon_s)
    _draw_time(axes[-1], timeline.horizon_s, _PALE)
    colors.draw_legend(figure)
    return to_png(figure)


class _Colors:
    """Colours by destination registry, or by outcome if there is only one registry; a failure is always red."""

    def __init__(self, timeline: Timeline) -> None:
        ranked = heaviest_destinations(timeline.records)
        self._by_registry = len(ranked) > 1
        self._of = dict(_OUTCOMES)
        if self._by_registry:
            self._of = {each: _HUES[rank] if rank < len(_HUES) else _REST for rank, each in enumerate(ranked)}
        self._used = {self.kind(record) for record in timeline.records}

    def kind(self, record: TransferRecord) -> str:
        """Return what decides the colour of a transfer."""
        if record.outcome == "failed":
            return "failed"
        return destination_registries(record) if self._by_registry else record.outcome

    def of(self, kind: str) -> str:
        """Return the colour."""
        return _FAILED if kind == "failed" else self._of[kind]

    def draw_legend(self, figure: Any) -> None:
        from matplotlib.patches import Patch

        named = [kind for kind, color in self._of.items() if kind in self._used and color != _REST]
        rest = [kind for kind, color in self._of.items() if kind in self._used and color == _REST]
        entries = [(kind, self.of(kind)) for kind in named]
        if rest:
            entries.append((rest[0] if len(rest) == 1 else f"{len(rest)} others", _REST))
        if "failed" in self._used:
            entries.append(("failed", _FAILED))
        patches = [
            Patch(facecolor=color, edgecolor="white", linewidth=0, hatch=_hatch(kind), label=_literal(_short(kind)))
            for kind, color in entries
        ]
        figure.legend(handles=patches, loc="lower left", ncols=4, frameon=False, fontsize=8, bbox_to_anchor=(0.01, 0.0))


def _draw_title(figure: Any, recorded: RecordedReport, timeline: Timeline, name: str, inches: float) -> None:
    from image_syncer.units import format_duration, format_rate, format_size

    report, moved = recorded.report, sum(record.bytes_moved for record in timeline.records)
    parts = [
        name,
        f"{len(timeline.records):,} transfers",
        f"{format_size(moved)} in {format_duration(timeline.span_s)}",
        format_rate(moved / timeline.span_s if timeline.span_s else 0),
        f"the last ran alone for {format_duration(timeline.tail_s)}",
    ]
    left_out = len(timeline.workers) - _MAX_WORKERS
    if left_out > 0:
        parts.append(f"{left_out:,} more workers are not shown")
    figure.text(0.012, 1 - 0.30 / inches, _literal(f"Run of {began(report)}"), fontsize=14, weight="bold", color=INK)
    figure.text(0.012, 1 - 0.55 / inches, _literal(" · ".join(parts)), fontsize=9, color=_PALE)
    figure.subplots_adjust(left=1 - _PLOT_SHARE, right=0.985, top=1 - 0.75 / inches, bottom=0.90 / inches, hspace=0.0)


def _draw_curve(axis: Any, step_s: float, values: tuple[float, ...], label: str, fact: str, color: str) -> None:
    from image_syncer.units import format_size

    edges = [piece * step_s for piece in range(len(values) + 1)]
    axis.stairs(values, edges, fill=True, color=color, alpha=0.25)
    axis.stairs(values, edges, color=color, linewidth=0.9)
    most = max(values)
    _clean_lane(axis)
    axis.set_ylim(0, most * 1.18 or 1.0)
    _name(axis, label, [fact.format(format_size(most))])


def _draw_lane(axis: Any, lane: WorkerLane, colors: _Colors, horizon_s: float) -> None:
    from matplotlib.collections import PolyCollection

    from image_syncer.reporting.timeline import Bar, merge_bars
    from image_syncer.units import format_size

    pixel_s = horizon_s / (_TIMELINE_INCHES * _TIMELINE_DPI * _PLOT_SHARE)
    bars: list[list[Bar]] = [[] for _ in range(lane.streams)]
    for stream, record in zip(lane.lanes, lane.records, strict=True):
        bars[stream].append(Bar(record.began_s, record.ended_s, colors.kind(record)))
    shapes: dict[str, list[list[tuple[float, float]]]] = {}
    for stream, each in enumerate(bars):
        axis.axhspan(stream + 0.06, stream + 0.94, color=_EMPTY, linewidth=0, zorder=0)
        for bar in merge_bars(each, pixel_s):
            end_s = max(bar.ended_s - pixel_s / 2, bar.began_s + pixel_s)  # a seam between two of the same colour
            low, high = stream + 0.06, stream + 0.94
            corners = [(bar.began_s, low), (bar.began_s, high), (end_s, high), (end_s, low)]
            shapes.setdefault(bar.kind, []).append(corners)
    for kind, polygons in sorted(shapes.items(), key=lambda each: each[0] == "failed"):
        look: dict[str, Any] = {
            "facecolors": colors.of(kind),
            "edgecolors": "white",
            "linewidths": 0,
            "hatch": _hatch(kind),
        }
        axis.add_collection(PolyCollection(polygons, zorder=2, **look))
    axis.set_ylim(lane.streams + 0.4, -0.4)
    _clean_lane(axis)
    facts = f"{format_size(lane.bytes_moved)}, {plural(len(lane.records), 'transfer')}"
    _name(axis, f"Worker {lane.worker}", [facts, f"idle {percent(lane.idle_share)}"])


def _lane_heights(workers: tuple[WorkerLane, ...]) -> list[float]:
    least, most = _LANE_INCHES
    lanes = sum(lane.streams for lane in workers)
    height = min(most, max(least, _MAX_LANES_INCHES / lanes))
    return [max(0.62, lane.streams * height + 0.12) for lane in workers]


def _clean_lane(axis: Any) -> None:
    _clean(axis, "x", _LIGHT_GRID)
    axis.set_yticks([])
    axis.tick_params(axis="x", length=0, labelbottom=False)


def _name(axis: Any, label: str, facts: list[str]) -> None:
    at = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    margin = -(1 - _PLOT_SHARE) * _TIMELINE_INCHES * 72 + 12  # points from the axes' left edge to the picture's
    axis.annotate(_literal(label), (0, 1), xytext=(margin, -5), fontsize=9, weight="bold", color=INK, **at)
    axis.annotate(_literal("\n".join(facts)), (0, 1), xytext=(margin, -18), fontsize=7.5, color=_PALE, **at)


def _hatch(kind: str) -> str:
    """Return lines for failed transfers, which red alone does not show to everyone."""
    return "/////" if kind == "failed" else ""


def _short(text: str, most: int = 48) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
