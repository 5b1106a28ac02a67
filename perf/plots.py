"""Pictures of results: bars for a comparison, curves for a scale. Needs matplotlib (extra `perf`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.units import format_size
from perf.errors import Mistake
from perf.figures import FIGURES
from perf.tools import OURS

if TYPE_CHECKING:
    from pathlib import Path

    from perf.compare import Result
    from perf.scale import Curves, Setting

__all__ = ["draw_curves", "draw_result", "need_matplotlib"]

MIB = 2**20
_SHOWN = (("wall_s", 1.0, "wall time, s"), ("cpu_s", 1.0, "CPU of all processes, s"), ("peak_bytes", MIB, "peak, MiB"))
_OUR_COLOUR, _THEIR_COLOUR = "#1f6feb", "#9aa5b1"
_DPI = 130


def need_matplotlib() -> Any:
    """pyplot, drawing to files only. Raises Mistake where matplotlib is not installed."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        raise Mistake("--plots needs matplotlib: pip install 'image-syncer[perf]'") from None
    return plt


def draw_result(result: Result, folder: Path) -> Path:
    """A bar for each tool: the median, with a line from the smallest to the largest run."""
    pyplot = need_matplotlib()
    spreads = {name: result.spreads(name) for name in result.runs}
    figure, axes = pyplot.subplots(1, len(_SHOWN), figsize=(11, 1.6 + 0.45 * len(spreads)), layout="constrained")
    for axis, (key, scale, label) in zip(axes, _SHOWN, strict=True):
        there = {name: spread[key] for name, spread in spreads.items() if key in spread}
        if not there:
            axis.set_visible(False)
            continue
        middles = [found.median / scale for found in there.values()]
        below = [(found.median - found.smallest) / scale for found in there.values()]
        above = [(found.largest - found.median) / scale for found in there.values()]
        colours = [_OUR_COLOUR if name == OURS else _THEIR_COLOUR for name in there]
        bars = axis.barh(list(there), middles, xerr=[below, above], color=colours, capsize=3, ecolor="#30363d")
        axis.bar_label(bars, fmt="%.3g", padding=6, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.2)
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    runs = max(len(taken) for taken in result.runs.values())
    figure.suptitle(
        f"{result.scenario.name}: {result.wanted.distinct_bytes / 1e9:.3g} GB, median of {runs}", fontsize=11
    )
    return _save(figure, folder, result.scenario.name)


def draw_curves(curves: Curves, folder: Path) -> Path:
    """Bytes a second and CPU over the setting that has most values; a line for each combination of the others."""
    pyplot = need_matplotlib()
    axis_name, label = _long_axis(curves.settings)
    lines: dict[str, list[int]] = {}
    for number, setting in enumerate(curves.settings):
        lines.setdefault(_others(setting, axis_name), []).append(number)
    figure, (rate, cost) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, numbers in lines.items():
        across = [getattr(curves.settings[number], axis_name) for number in numbers]
        for axis, spreads, turned in ((rate, curves.wall_s, True), (cost, curves.cpu_s, False)):
            middles, low, high = [], [], []
            for number in numbers:
                found = spreads[number]
                values = (
                    [found.median, found.largest, found.smallest]
                    if turned
                    else [found.median, found.smallest, found.largest]
                )
                ends = [curves.bytes_moved / value / 1e6 if turned else value for value in values]
                middles.append(ends[0])
                low.append(ends[1])
                high.append(ends[2])
            (drawn,) = axis.plot(across, middles, marker="o", label=name or None)
            axis.fill_between(across, low, high, alpha=0.15, color=drawn.get_color())
    knee = curves.settings[curves.knee]
    height = curves.bytes_moved / curves.wall_s[curves.knee].median / 1e6
    rate.annotate(
        f"knee: {knee}",
        (getattr(knee, axis_name), height),
        (0, -28),
        textcoords="offset points",
        arrowprops={"arrowstyle": "->"},
        fontsize=8,
    )
    for axis, title in ((rate, "MB/s"), (cost, FIGURES["cpu_s"].heading)):
        axis.set_xscale("log", base=2)
        ticks = sorted({getattr(setting, axis_name) for setting in curves.settings})
        axis.set_xticks(ticks, [format_size(tick) if axis_name == "window_bytes" else str(tick) for tick in ticks])
        axis.set_xlabel(label)
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    if any(lines):
        rate.legend(fontsize=8)
    figure.suptitle(curves.scenario, fontsize=11)
    return _save(figure, folder, f"{curves.scenario}-scale")


def _long_axis(settings: list[Setting]) -> tuple[str, str]:
    names = {"streams": "streams a worker", "workers": "workers", "window_bytes": "window"}
    longest = max(names, key=lambda name: len({getattr(setting, name) for setting in settings} - {None}))
    return longest, names[longest]


def _others(setting: Setting, axis_name: str) -> str:
    from dataclasses import replace

    return str(replace(setting, **{axis_name: None}))


def _save(figure: Any, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(':', '-')}.png"
    figure.savefig(path, dpi=_DPI)
    need_matplotlib().close(figure)
    return path
