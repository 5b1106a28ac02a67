"""The figures of a run, as data: what the page draws as SVG, and `--plot` as PNG."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from image_syncer_cli.timeline_words import percent, ring_transfers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer import RecordedReport, RunCurves, Track

__all__ = ["Figure", "Form", "figures_of", "workers_of"]

PIECES = 240
"""Of the time: as many as a printed page can show."""
_MOST_LAYERS = 7
_MOST_WORKERS = 48
_MOST_REGISTRIES = 10
_MOST_LIMITS = 24
_QUIET, _QUIET_S = 0.05, 0.5
"""What passes before the first transfer is told from so long on, as a part of the run and in seconds."""
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
    """One figure: a track has a label and facts beside it, and `tell` says a value in words.

    `measure` is what the height of layers means. `own_scale`: rows are not to be compared with each other; those in
    `apart` are not with the rest, beside which they are sums of many. `marks` are counts of failed transfers by piece
    of time.
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
        """The value at the upper edge of a row."""
        alone = self.own_scale or place in self.apart
        rows = (place,) if alone else (each for each in range(len(self.tracks)) if each not in self.apart)
        return max((value or 0.0 for row in rows for value in self.tracks[row].values), default=0.0) or 1.0

    def most(self, place: int) -> str:
        """The highest value of a track, in words; "" where facts have it already."""
        known = [value for value in self.tracks[place].values if value is not None]
        return "" if self.own_scale or not known else f"at most {self.tell(max(known))}"


def figures_of(recorded: RecordedReport) -> dict[str, Figure]:
    """The figures that this run has something for, by name, in the order of `FIGURE_NAMES`."""
    from image_syncer import RunCurves

    curves = RunCurves(recorded.transfers, recorded.report.seconds, PIECES)
    found: list[Figure] = []
    if recorded.transfers:
        asked = workers_of(recorded)
        found += [*_throughput(curves), *_waits(curves, recorded), *_workers(curves, asked), *_registries(curves)]
    return {figure.name: figure for figure in [*found, *_limits(recorded, curves)]}


def workers_of(recorded: RecordedReport) -> int | None:
    """How many workers the run had at once, where that is known."""
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
        (
            "ring full: slow destination",
            "neither of them",
            "ring empty: slow source",
        ),
        tuple(facts),
        percent,
        curves.step_s,
        curves.horizon_s,
        "share of the transfers' time",
    )


def _workers(curves: RunCurves, asked: int | None) -> Iterator[Figure]:
    tracks = curves.workers(_MOST_WORKERS)
    count = len(tracks)
    yield Figure(
        "workers",
        "Workers",
        "Transfers under way in each worker process, all rows to the same scale: a gap is a time in which it had "
        "nothing to move."
        + (f" The first {count} are shown." if count == _MOST_WORKERS else "")
        + (
            f" Those above {asked} began in place of workers that had died."
            if asked and curves.last_worker > asked
            else ""
        ),
        Form.ROWS,
        tuple(tracks),
        tuple(f"worker {track.name}" for track in tracks),
        tuple(f"{track.total:,.0f} transfer{'' if track.total == 1 else 's'}" for track in tracks),
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
    from image_syncer import limit_tracks
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
