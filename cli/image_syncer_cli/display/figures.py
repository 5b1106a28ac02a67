"""The figures of a run, as data and as SVG for the page.

An SVG is part of the page, without a script. Shapes are in an inner picture that is stretched to the width of the page,
texts are in the outer one, at places in per cent. Colours are classes of `page.css`; layers differ in their hatching
too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from image_syncer_cli.display.pages import escape
from image_syncer_cli.display.timeline_words import percent, plural, ring_transfers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from image_syncer import RecordedReport
    from image_syncer.reporting.timeline import RunCurves, Track


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
    """Return the figure: its rows or layers, with labels beside them, and the axis of time below."""
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
    """Return class and hatching of a layer; the rest of a whole is only a shade."""
    if figure.form is not Form.SHARE:
        return f"k{place}", place % 4
    return (("k0", 0), ("rest", 0), ("k1", 1))[place]


def _swatch(kind: str, hatching: int) -> str:
    hatch = f'<rect width="14" height="14" fill="url(#h{hatching})"/>' if hatching else ""
    return f'<rect width="14" height="14" class="{kind}"/>{hatch}'


def _stack_layers(figure: Figure) -> list[list[float]]:
    """Return the upper edge of each layer."""
    edges: list[list[float]] = []
    below = [0.0] * len(figure.tracks[0].values)
    for track in figure.tracks:
        below = [low + (value or 0.0) for low, value in zip(below, track.values, strict=True)]
        edges.append(below)
    return edges


def _layered(figure: Figure, layers: list[list[float]], top: float) -> str:
    pieces = len(layers[0])
    edges = zip(layers, [[0.0] * pieces, *layers], strict=False)
    shapes = [_area(upper, lower, top, *_look(figure, place)) for place, (upper, lower) in enumerate(edges)]
    grid = "".join(
        f'<line x1="0" x2="{pieces}" y1="{y}" y2="{y}" class="grid"/>' for y in (0.5, _TALL / 2, _TALL - 0.5)
    )
    label = f"{figure.title}: " + ", ".join(map(" ".join, zip(figure.labels, figure.facts, strict=True)))
    return (
        f'<svg class="plot" height="{_TALL}" role="img" aria-label="{escape(label)}">'
        f'<svg width="100%" height="{_TALL}" viewBox="0 0 {pieces} {_TALL}" preserveAspectRatio="none">'
        f"{''.join(shapes)}{grid}{_strips(figure)}</svg>{_marks(figure)}"
        f'<text x="100%" dx="6" y="9">{escape(figure.tell(top))}</text>'
        f'<text x="100%" dx="6" y="{_TALL / 2 + 4}">{escape(figure.tell(top / 2))}</text></svg>'
    )


def _area(upper: Sequence[float], lower: Sequence[float], top: float, kind: str, hatching: int) -> str:
    """Return the area between two edges, in steps: each value is a mean over its piece."""
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
    """Return invisible parts whose titles, which the browser shows, have the values of their time."""
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
    label, said = escape(figure.labels[place], 60), escape(figure.all_facts(place))
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
    """Return round times of a run, and their labels."""
    if horizon_s <= 0:
        return [(0.0, "0")]
    wanted = horizon_s / _TICKS
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next((factor * power for factor in _NICE if factor * power >= wanted), 10 * power)
    if wanted > 10:  # noqa: PLR2004 - from here on steps are those of a clock
        step = next((each for each in _CLOCK_STEPS if each >= wanted), step)
    return [(number * step, _clock(number * step)) for number in range(int(horizon_s / step + 1e-9) + 1)]


def _clock(at_s: float) -> str:
    if not 60 <= at_s <= 1e9:  # noqa: PLR2004 - below a minute; or decades, which only a wrong report has
        return f"{at_s:.3g} s"
    minutes, seconds = divmod(round(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def round_top(most: float) -> float:
    """Return a round number of bytes that is not below `most`."""
    unit = 1.0
    while unit * 1024 <= most:
        unit *= 1024
    for factor in (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 200, 256, 400, 512, 800, 1024):
        if factor * unit >= most:
            return factor * unit
    return most or 1.0


PIECES = 240
"""Of the time: as many as a printed page can show."""
_MOST_LAYERS = 7
_MOST_WORKERS = 48
_MOST_REGISTRIES = 10
_MOST_LIMITS = 24
_QUIET, _QUIET_S = 0.05, 0.5
"""From how long on the time before the first transfer is mentioned: as a part of the run, and in seconds."""
_LIMITS: dict[str, tuple[str, Callable[[float], str]]] = {
    "requests_per_s": ("requests a second", lambda value: f"{value:.3g}/s"),
    "connections": ("connections for blobs", lambda value: f"{value:.0f}"),
}


class Form(Enum):
    """How a figure is drawn."""

    STACK = "layers one upon the other"
    SHARE = "parts of a whole: one from the bottom up, one from the top down, and what is left between them"
    ROWS = "a row for each track"


@dataclass(frozen=True)
class Figure:
    """One figure: each track has a label and facts, and `tell` formats a value.

    `measure` is the meaning of the height of layers. With `own_scale`, rows have different scales; those in `apart`,
    sums of many, have another scale than the rest. `marks` are counts of failed transfers by piece of time.
    """

    name: str
    title: str
    about: str
    form: Form
    tracks: tuple[Track, ...]
    labels: tuple[str, ...]
    facts: tuple[str, ...]
    tell: Callable[[float], str]
    step_s: float
    horizon_s: float
    measure: str = ""
    own_scale: bool = False
    apart: tuple[int, ...] = ()
    marks: tuple[float, ...] = ()

    def top(self, place: int) -> float:
        """Return the value at the upper edge of a row."""
        alone = self.own_scale or place in self.apart
        rows = (place,) if alone else (each for each in range(len(self.tracks)) if each not in self.apart)
        return max((value or 0.0 for row in rows for value in self.tracks[row].values), default=0.0) or 1.0

    def all_facts(self, place: int) -> str:
        """Return the facts of a track and, unless they have it, its highest value."""
        known = [value for value in self.tracks[place].values if value is not None]
        most = "" if self.own_scale or not known else f"at most {self.tell(max(known))}"
        return ", ".join(part for part in (self.facts[place], most) if part)


def figures_of(recorded: RecordedReport) -> dict[str, Figure]:
    """Return the figures for which this run has data, by name, in the order of `FIGURE_NAMES`."""
    from image_syncer.reporting.timeline import RunCurves

    curves = RunCurves(recorded.transfers, recorded.report.seconds, PIECES)
    found: list[Figure] = []
    if recorded.transfers:
        asked = workers_of(recorded)
        found += [*_throughput(curves), *_waits(curves, recorded), *_workers(curves, asked), *_registries(curves)]
    return {figure.name: figure for figure in [*found, *_limits(recorded, curves)]}


def workers_of(recorded: RecordedReport) -> int | None:
    """Return how many workers the run had at once, if known."""
    count = recorded.report.settings.get("workers")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None


def _throughput(curves: RunCurves) -> Iterator[Figure]:
    from image_syncer.units import format_duration, format_rate, format_size

    tracks = curves.to_registries(_MOST_LAYERS)
    began_s = curves.began_s
    quiet = began_s >= _QUIET * curves.horizon_s and began_s >= _QUIET_S
    sums = [sum(value or 0.0 for value in values) for values in zip(*(track.values for track in tracks), strict=True)]
    yield Figure(
        "throughput",
        "Throughput",
        f"Bytes a second that arrived, by destination; at most {format_rate(max(sums))}. What a transfer moved is "
        "spread evenly over its time."
        + (f" The first transfer began after {format_duration(began_s)}: images are looked at first." if quiet else "")
        + (" ▼ marks times at which transfers failed." if any(curves.failures()) else ""),
        Form.STACK,
        tuple(tracks),
        tuple(f"to {track.name}" for track in tracks),
        tuple(format_size(track.total) for track in tracks),
        format_rate,
        curves.step_s,
        curves.horizon_s,
        "bytes a second",
        marks=curves.failures(),
    )


def _waits(curves: RunCurves, recorded: RecordedReport) -> Iterator[Figure]:
    from image_syncer.units import format_duration

    records, small = ring_transfers(recorded)
    full, empty, moved = curves.waits(records)
    if not full.total and not empty.total:
        return
    whole = full.total + empty.total + moved.total
    shares = (full, moved, empty)
    facts = (f"{format_duration(each.total)} ({percent(each.total / whole)})" for each in shares)
    yield Figure(
        "waits",
        "Which side was slow",
        "Between its source and its destination, each transfer has a ring of memory. Was it full, the destination was "
        "slow; was it empty, the source. In all other time both sides moved, or a registry was waited for: for an "
        "answer, or because of its limits. Shares of the time of all transfers that were under way."
        + (f" Blobs of up to {small} are left out: they cannot fill a ring." if small else ""),
        Form.SHARE,
        shares,
        ("ring full: slow destination", "neither of them", "ring empty: slow source"),
        tuple(facts),
        percent,
        curves.step_s,
        curves.horizon_s,
        "share of the transfers' time",
    )


def _workers(curves: RunCurves, asked: int | None) -> Iterator[Figure]:
    tracks = curves.workers(_MOST_WORKERS)
    count, replaced = len(tracks), asked and curves.last_worker > asked
    yield Figure(
        "workers",
        "Workers",
        "Transfers under way in each worker process, all rows to the same scale: a gap is a time in which it had "
        "nothing to move."
        + (f" The first {count} are shown." if count == _MOST_WORKERS else "")
        + (f" Those above {asked} began in place of workers that had died." if replaced else ""),
        Form.ROWS,
        tuple(tracks),
        tuple(f"worker {track.name}" for track in tracks),
        tuple(plural(round(track.total), "transfer") for track in tracks),
        lambda value: f"{value:.0f} at once",
        curves.step_s,
        curves.horizon_s,
    )


def _registries(curves: RunCurves) -> Iterator[Figure]:
    from image_syncer.units import format_rate, format_size

    sources, destinations = curves.from_registries(_MOST_REGISTRIES), curves.to_registries(_MOST_REGISTRIES)
    tracks = (*sources, *destinations)
    apart = tuple(place for place, track in enumerate(tracks) if track.is_rest)
    yield Figure(
        "registries",
        "Registries",
        "Bytes a second from each source and to each destination, all rows to the same scale"
        + (", but for those of others." if apart else "."),
        Form.ROWS,
        tracks,
        tuple([f"from {track.name}" for track in sources] + [f"to {track.name}" for track in destinations]),
        tuple(format_size(track.total) for track in tracks),
        format_rate,
        curves.step_s,
        curves.horizon_s,
        apart=apart,
    )


def _limits(recorded: RecordedReport, curves: RunCurves) -> Iterator[Figure]:
    from image_syncer.reporting.timeline import limit_tracks
    from image_syncer.units import format_rate

    units = {**_LIMITS, "bytes_per_s": ("bytes a second", format_rate)}
    points: dict[str, list[tuple[float, float | None]]] = {}
    facts: dict[str, str] = {}
    for registry, data in recorded.report.limits.items():
        for kind, (noun, tell) in units.items():
            known = [value for _, value in data[kind] if value is not None]
            if not known or len(points) == _MOST_LIMITS:
                continue
            name = f"{registry}: {noun}"
            points[name] = data[kind]
            facts[name] = f"{tell(min(known))} to {tell(max(known))}" if min(known) < max(known) else tell(known[0])
    tracks = limit_tracks(points, curves.step_s, curves.pieces)
    if tracks:
        yield Figure(
            "limits",
            "Limits over time",
            "What a registry was asked at most, as learnt from its refusals, or as its settings say. Each row has its "
            "own scale; where there is no line, there was no limit.",
            Form.ROWS,
            tuple(tracks),
            tuple(track.name for track in tracks),
            tuple(facts[track.name] for track in tracks),
            lambda value: f"{value:.3g}",
            curves.step_s,
            curves.horizon_s,
            own_scale=True,
        )
