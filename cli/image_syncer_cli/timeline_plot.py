"""The timeline as one PNG, by matplotlib, which only this needs."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from image_syncer_cli.figure_svg import time_ticks
from image_syncer_cli.timeline_words import began, destination_registries, percent

if TYPE_CHECKING:
    from image_syncer import RecordedReport, Timeline, TransferRecord, WorkerLane

__all__ = ["draw_plot", "require_matplotlib"]

_DPI = 150
_WIDTH_INCHES = 13.0
_PLOT_SHARE = 0.84
"""Of the width: the rest holds the names of the workers."""
_PIECES = 1200
_MOST_WORKERS = 64
"""A taller picture is more than image viewers show, and at some point more than a PNG may be here."""
_MOST_LANES_INCHES = 22.0
_LANE_INCHES = (0.012, 0.11)
"""The least and the most height of one lane."""

_INK, _SOFT, _GRID, _EMPTY = "#1c1d1f", "#62656b", "#e3e3df", "#f4f4f1"
_FAILED, _REST = "#d1242f", "#a4a7ad"
_HUES = ("#2a78d6", "#14a37f", "#e0a100", "#6a4fc4", "#d9679a", "#e8702a", "#4f8a10")
_OUTCOMES = {"moved": _HUES[0], "mounted": _HUES[1], "present": _REST, "split off": _HUES[2]}


_INSTEAD = {
    "--timeline": "or give --timeline a name that ends in .html",
    "--plot": "or let --html PAGE draw all figures",
    "estimate --plot": "or leave the option out: the table says the same",
}


def require_matplotlib(option: str) -> None:
    """Raises `ConfigurationError` where matplotlib is missing, which `option` needs."""
    if find_spec("matplotlib") is None:
        from image_syncer import ConfigurationError

        raise ConfigurationError(
            "a .png needs matplotlib, which is not installed",
            hint=f"Install it with pip install 'image-syncer[plots]', {_INSTEAD[option]}.",
        )


def draw_plot(recorded: RecordedReport, name: str) -> bytes:
    """The picture; `name` is that of the report's file. There has to be a transfer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from image_syncer import Timeline

    timeline = Timeline(recorded.transfers, recorded.report.seconds)
    colors = _Colors(timeline)
    workers = timeline.workers[:_MOST_WORKERS]
    heights = [1.0, 1.0, *_lane_heights(workers)]
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + 1.7), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    _draw_title(figure, recorded, timeline, name, sum(heights) + 1.7)
    curve = timeline.curve(_PIECES)
    _draw_curve(axes[0], curve.step_s, curve.bytes_per_s, "Throughput", "at most {}/s", _HUES[0])
    _draw_curve(axes[1], curve.step_s, curve.bytes_in_flight, "In flight", "blobs of at most {}", _HUES[1])
    for axis, lane in zip(axes[2:], workers, strict=True):
        _draw_lane(axis, lane, colors, timeline.horizon_s)
    axes[-1].set_xlim(0, timeline.horizon_s or 1.0)
    ticks = time_ticks(timeline.horizon_s)
    axes[-1].set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    axes[-1].tick_params(axis="x", labelbottom=True, colors=_SOFT, labelsize=8, length=3)
    axes[-1].set_xlabel("time since the run began", fontsize=8, color=_SOFT)
    colors.draw_legend(figure)
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


class _Colors:
    """Colours by destination registry, or by outcome where there is but one registry; a failure is always red."""

    def __init__(self, timeline: Timeline) -> None:
        weights: Counter[str] = Counter()
        for record in timeline.records:
            weights[destination_registries(record)] += record.bytes_moved
        self._by_registry = len(weights) > 1
        self._of = dict(_OUTCOMES)
        if self._by_registry:
            ranked = [registries for registries, _ in weights.most_common()]
            self._of = {each: _HUES[rank] if rank < len(_HUES) else _REST for rank, each in enumerate(ranked)}
        self._used = {self.kind(record) for record in timeline.records}

    def kind(self, record: TransferRecord) -> str:
        """What decides about a record's colour."""
        if record.outcome == "failed":
            return "failed"
        return destination_registries(record) if self._by_registry else record.outcome

    def of(self, kind: str) -> str:
        """The colour."""
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
    left_out = len(timeline.workers) - _MOST_WORKERS
    if left_out > 0:
        parts.append(f"{left_out:,} more workers are not shown")
    figure.text(0.012, 1 - 0.30 / inches, _literal(f"Run of {began(report)}"), fontsize=14, weight="bold", color=_INK)
    figure.text(0.012, 1 - 0.55 / inches, _literal(" · ".join(parts)), fontsize=9, color=_SOFT)
    figure.subplots_adjust(left=1 - _PLOT_SHARE, right=0.985, top=1 - 0.75 / inches, bottom=0.90 / inches, hspace=0.0)


def _draw_curve(axis: Any, step_s: float, values: tuple[float, ...], label: str, fact: str, color: str) -> None:
    from image_syncer.units import format_size

    edges = [piece * step_s for piece in range(len(values) + 1)]
    axis.stairs(values, edges, fill=True, color=color, alpha=0.25)
    axis.stairs(values, edges, color=color, linewidth=0.9)
    most = max(values)
    _clean(axis)
    axis.set_ylim(0, most * 1.18 or 1.0)
    _name(axis, label, [fact.format(format_size(most))])


def _draw_lane(axis: Any, lane: WorkerLane, colors: _Colors, horizon_s: float) -> None:
    from matplotlib.collections import PolyCollection

    from image_syncer import Bar, merge_bars
    from image_syncer.units import format_size

    pixel_s = horizon_s / (_WIDTH_INCHES * _DPI * _PLOT_SHARE)
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
    _clean(axis)
    count = len(lane.records)
    facts = [f"{format_size(lane.bytes_moved)}, {count:,} transfer{'' if count == 1 else 's'}"]
    _name(axis, f"Worker {lane.worker}", [*facts, f"idle {percent(lane.idle_share)}"])


def _lane_heights(workers: tuple[WorkerLane, ...]) -> list[float]:
    least, most = _LANE_INCHES
    lanes = sum(lane.streams for lane in workers)
    height = min(most, max(least, _MOST_LANES_INCHES / lanes))
    return [max(0.62, lane.streams * height + 0.12) for lane in workers]


def _clean(axis: Any) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(_GRID)
    axis.set_yticks([])
    axis.grid(visible=True, axis="x", color=_GRID, linewidth=0.6, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(axis="x", length=0, labelbottom=False)


def _name(axis: Any, label: str, facts: list[str]) -> None:
    at = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    margin = -(1 - _PLOT_SHARE) * _WIDTH_INCHES * 72 + 12  # points from the axes' left edge to the picture's
    axis.annotate(_literal(label), (0, 1), xytext=(margin, -5), fontsize=9, weight="bold", color=_INK, **at)
    axis.annotate(_literal("\n".join(facts)), (0, 1), xytext=(margin, -18), fontsize=7.5, color=_SOFT, **at)


def _hatch(kind: str) -> str:
    """Whoever sees no difference between red and green sees what failed by its lines."""
    return "/////" if kind == "failed" else ""


def _short(text: str, most: int = 48) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _literal(text: str) -> str:
    """`text` without what matplotlib takes for mathematics, or cannot draw."""
    return "".join(each if each.isprintable() or each == "\n" else "�" for each in text).replace("$", r"\$")
