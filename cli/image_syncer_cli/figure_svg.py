"""Figures as SVG, which stands in the page itself: no script, any width, on paper too.

Shapes lie in an inner picture that is stretched to the width there is; texts lie in the outer one, at places in per
cent, and are not stretched. Colours are classes of the page's style, in light and dark; layers differ in their hatching
as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from image_syncer_cli.page_parts import escape
from image_syncer_cli.report_figures import Form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer_cli.report_figures import Figure

__all__ = ["HATCHES", "draw_svg", "round_top", "time_ticks"]

_TALL, _ROW, _AXIS = 132, 30, 20
"""Heights in pixels: a figure with layers, a row, and the axis of time."""
_STRIPS = 80
"""Parts of a figure that tell their values when the mouse is over them."""
_TICKS = 8
_TIME = "time since the run began"
_NICE = (1, 2, 5, 10)
_CLOCK_STEPS = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)

HATCHES = """<svg class="defs" width="0" height="0" aria-hidden="true"><defs>
<pattern id="h1" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="2" class="hatch"/></pattern>
<pattern id="h2" width="2.4" height="6" patternUnits="userSpaceOnUse"><rect width=".6" height="6" class="hatch"/>
</pattern>
<pattern id="h3" width="2.4" height="8" patternUnits="userSpaceOnUse"><rect width="1.2" height="4" class="hatch"/>
<rect x="1.2" y="4" width="1.2" height="4" class="hatch"/></pattern>
</defs></svg>"""
"""The patterns that lie over colours; the first layer has none."""


def draw_svg(figure: Figure) -> str:
    """The figure: its rows or layers, with labels beside them, and the axis of time below."""
    if figure.form is Form.ROWS:
        rows = "".join(_row(figure, place) for place in range(len(figure.tracks)))
        return f'<div class="fig">{rows}<div class="label axis">{_TIME}</div>{_axis(figure)}</div>'
    layers = _stack_layers(figure)
    top = 1.0 if figure.form is Form.SHARE else round_top(max(map(max, layers[-1:])))
    legend = "".join(
        f'<li><svg class="key" viewBox="0 0 14 14" aria-hidden="true">{_swatch(*_look(figure, place))}</svg>'
        f"{escape(label)}<small>{escape(facts)}</small></li>"
        for place, (label, facts) in enumerate(zip(figure.labels, figure.facts, strict=True))
    )
    return (
        f'<div class="fig"><div class="label"><ul class="up">{legend}</ul></div>'
        f'<div>{_layered(figure, layers, top)}{_axis(figure)}<div class="label time">{_TIME}</div></div></div>'
    )


def _look(figure: Figure, place: int) -> tuple[str, int]:
    """Class and hatching of a layer; what is left of a whole is no more than a shade."""
    if figure.form is not Form.SHARE:
        return f"k{place}", place % 4
    return (("k0", 0), ("rest", 0), ("k1", 1))[place]


def _swatch(kind: str, hatching: int) -> str:
    hatch = f'<rect width="14" height="14" fill="url(#h{hatching})"/>' if hatching else ""
    return f'<rect width="14" height="14" class="{kind}"/>{hatch}'


def _stack_layers(figure: Figure) -> list[list[float]]:
    """The upper edge of each layer."""
    edges: list[list[float]] = []
    below = [0.0] * len(figure.tracks[0].values)
    for track in figure.tracks:
        below = [low + (value or 0.0) for low, value in zip(below, track.values, strict=True)]
        edges.append(below)
    return edges


def _layered(figure: Figure, layers: list[list[float]], top: float) -> str:
    shapes = []
    below = [0.0] * len(layers[0])
    for place, edge in enumerate(layers):
        shapes.append(_area(edge, below, top, *_look(figure, place)))
        below = edge
    pieces = len(layers[0])
    grid = "".join(
        f'<line x1="0" x2="{pieces}" y1="{y}" y2="{y}" class="grid"/>' for y in (0.5, _TALL / 2, _TALL - 0.5)
    )
    label = figure.title + ": " + ", ".join(map(" ".join, zip(figure.labels, figure.facts, strict=True)))
    return (
        f'<svg class="plot" height="{_TALL}" role="img" aria-label="{escape(label)}">'
        f'<svg width="100%" height="{_TALL}" viewBox="0 0 {pieces} {_TALL}" preserveAspectRatio="none">'
        f"{''.join(shapes)}{grid}{_strips(figure)}</svg>{_marks(figure)}"
        f'<text x="100%" dx="6" y="9">{escape(figure.tell(top))}</text>'
        f'<text x="100%" dx="6" y="{_TALL / 2 + 4}">{escape(figure.tell(top / 2))}</text></svg>'
    )


def _area(upper: Sequence[float], lower: Sequence[float], top: float, kind: str, hatching: int) -> str:
    """What lies between two edges, in steps: each value is a mean over its piece."""
    path = "M" + "L".join(_steps(upper, top)) + "L" + "L".join(reversed(_steps(lower, top))) + "Z"
    hatch = f'<path d="{path}" fill="url(#h{hatching})"/>' if hatching else ""
    return f'<path d="{path}" class="{kind} area"/>{hatch}'


def _steps(values: Sequence[float], top: float, tall: float = _TALL) -> list[str]:
    points = []
    for piece, value in enumerate(values):
        y = f"{tall - min(1.0, value / top) * (tall - 2):.1f}"
        points += [f"{piece} {y}", f"{piece + 1} {y}"]
    return points


def _strips(figure: Figure) -> str:
    """Invisible parts that tell the values of their time, as the browser shows a title."""
    pieces = len(figure.tracks[0].values)
    width = pieces / _STRIPS
    strips = []
    for number in range(_STRIPS):
        first, last = int(number * width), max(int(number * width) + 1, int((number + 1) * width))
        lines = [f"{_clock(first * figure.step_s)} to {_clock(last * figure.step_s)}"]
        for label, track in zip(figure.labels, figure.tracks, strict=True):
            known = [value for value in track.values[first:last] if value is not None]
            if known:
                lines.append(f"{label}: {figure.tell(sum(known) / len(known))}")
        tip = escape("\n".join(lines), 600)
        strips.append(
            f'<rect x="{number * width:g}" width="{width:g}" height="{_TALL}" class="tip"><title>{tip}</title></rect>'
        )
    return "".join(strips)


def _marks(figure: Figure) -> str:
    pieces = len(figure.marks)
    return "".join(
        f'<text x="{(piece + 0.5) / pieces:.2%}" y="11" class="mark">▼<title>{count:.0f} failed</title></text>'
        for piece, count in enumerate(figure.marks)
        if count
    )


def _row(figure: Figure, place: int) -> str:
    track = figure.tracks[place]
    values = [value or 0.0 for value in track.values]
    color = "k0" if not figure.labels[place].startswith("from ") else "k1"
    below = f"{len(values)} {_ROW}L0 {_ROW}Z"
    path = "M" + "L".join(_steps(values, figure.top(place), _ROW)) + "L" + below
    facts = ", ".join(part for part in (figure.facts[place], figure.most(place)) if part)
    label, said = escape(figure.labels[place], 60), escape(facts)
    return (
        f'<div class="label"><b>{label}</b><small>{said}</small></div>'
        f'<svg class="plot row" height="{_ROW}" role="img" aria-label="{label}: {said}">'
        f'<svg width="100%" height="{_ROW}" viewBox="0 0 {len(values)} {_ROW}" preserveAspectRatio="none">'
        f'<path d="{path}" class="{color} area"/></svg></svg>'
    )


def _axis(figure: Figure) -> str:
    texts = []
    for at, label in time_ticks(figure.horizon_s):
        share = at / figure.horizon_s if figure.horizon_s else 0.0
        anchor = "start" if share < 0.02 else "end" if share > 0.96 else "middle"  # noqa: PLR2004 - inside the picture
        texts.append(
            f'<line x1="{share:.2%}" x2="{share:.2%}" y1="0" y2="4" class="tick"/>'
            f'<text x="{share:.2%}" y="16" text-anchor="{anchor}">{label}</text>'
        )
    return f'<svg class="plot axis" height="{_AXIS}" aria-hidden="true">{"".join(texts)}</svg>'


def time_ticks(horizon_s: float) -> list[tuple[float, str]]:
    """Round moments of a run, and what stands at them."""
    if horizon_s <= 0:
        return [(0.0, "0")]
    wanted = horizon_s / _TICKS
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next((factor * power for factor in _NICE if factor * power >= wanted), 10 * power)
    if wanted > 10:  # noqa: PLR2004 - from here on seconds are counted as clocks do
        step = next((each for each in _CLOCK_STEPS if each >= wanted), step)
    return [(number * step, _clock(number * step)) for number in range(int(horizon_s / step + 1e-9) + 1)]


def _clock(at_s: float) -> str:
    if at_s < 60:  # noqa: PLR2004 - a minute
        return f"{at_s:.3g} s"
    if at_s > 1e9:  # noqa: PLR2004 - no run takes decades, but a report may say so
        return f"{at_s:.3g} s"
    minutes, seconds = divmod(round(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def round_top(most: float) -> float:
    """A round number of bytes that is not below `most`."""
    unit = 1.0
    while unit * 1024 <= most:
        unit *= 1024
    for factor in (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 200, 256, 400, 512, 800, 1024):
        if factor * unit >= most:
            return factor * unit
    return most or 1.0
