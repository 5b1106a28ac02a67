"""A run over time, as curves: bytes by registry, which side was waited for, how busy workers were, and limits.

Each curve is a list of means over pieces of time of equal length, so that it is as long for a million transfers as for
ten. What a transfer moved, and how long it waited, is spread evenly over its time: more is not recorded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from image_syncer.telemetry.timeline import spread
from image_syncer.units import LEAST_S
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from image_syncer.telemetry.transfer_record import TransferRecord

__all__ = ["RunCurves", "Track", "limit_tracks"]

OTHERS = "others"
"""The name under which all stands that is too many to be shown one by one."""


class Track(Value, frozen=True):
    """One curve: its name, its values, and the sum that belongs to it (bytes, or transfers). A value that is None is
    unknown, or no limit. `is_rest`: it is the sum of all that were too many.
    """

    name: str
    values: tuple[float | None, ...]
    total: float = 0.0
    is_rest: bool = False


class RunCurves:
    """The transfers of a run in so many `pieces` of `step_s` seconds; `horizon_s` is how long the run took."""

    def __init__(self, records: Sequence[TransferRecord], horizon_s: float, pieces: int) -> None:
        self._records = records
        self.pieces = pieces
        self.horizon_s = max([horizon_s, *(record.ended_s for record in records)])
        self.step_s = self.horizon_s / pieces if self.horizon_s >= LEAST_S else 1.0
        self.began_s = min((record.began_s for record in records), default=0.0)
        self.last_worker = max((record.worker for record in records), default=0)

    def to_registries(self, most: int) -> list[Track]:
        """Bytes a second to each destination registry, most bytes first."""
        return self._ranked(_sent_to, most)

    def from_registries(self, most: int) -> list[Track]:
        """Bytes a second from each source registry; what went to several destinations was read once."""
        return self._ranked(_read_from, most)

    def workers(self, most: int) -> list[Track]:
        """Transfers under way in each worker, those with the lowest numbers; `total` is its transfers."""
        by_worker: dict[int, list[TransferRecord]] = defaultdict(list)
        for record in self._records:
            by_worker[record.worker].append(record)
        return [
            Track(
                str(worker),
                self._means((one.began_s, one.ended_s, one.seconds) for one in by_worker[worker]),
                len(by_worker[worker]),
            )
            for worker in sorted(by_worker)[:most]
        ]

    def waits(self, of: Sequence[TransferRecord] | None = None) -> list[Track]:
        """Of the transfers' time in each piece, the share in which they waited for the destination (their rings were
        full), for the source (their rings were empty), and what is left. None where nothing was under way. With `of`,
        only these transfers count.
        """
        records = self._records if of is None else of
        full = self._means((one.began_s, one.ended_s, _waited(one)[0]) for one in records)
        empty = self._means((one.began_s, one.ended_s, _waited(one)[1]) for one in records)
        under_way = self._means((one.began_s, one.ended_s, one.seconds) for one in records)
        parts: list[tuple[float | None, ...]] = [
            tuple(value / busy if busy > LEAST_S else None for value, busy in zip(values, under_way, strict=True))
            for values in (full, empty)
        ]
        moved = tuple(
            None if first is None or second is None else max(0.0, 1 - first - second)
            for first, second in zip(*parts, strict=True)
        )
        seconds = [sum(_waited(one)[side] for one in records) for side in (0, 1)]
        rest = max(0.0, sum(one.seconds for one in records) - sum(seconds))
        names = ("waited for the destination", "waited for the source", "neither")
        return [Track(*each) for each in zip(names, (*parts, moved), (*seconds, rest), strict=True)]

    def failures(self) -> tuple[float, ...]:
        """How many transfers failed in each piece."""
        counts = [0.0] * self.pieces
        for record in self._records:
            if record.outcome == "failed":
                counts[min(self.pieces - 1, int(record.ended_s // self.step_s))] += 1
        return tuple(counts)

    def _ranked(self, parts_of: Any, most: int) -> list[Track]:
        totals: Counter[str] = Counter()
        for record in self._records:
            for name, amount in parts_of(record):
                totals[name] += amount
        ranked = [name for name, _ in totals.most_common()]
        shown = dict.fromkeys(ranked if len(ranked) <= most else ranked[: most - 1])
        amounts: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for record in self._records:
            for name, amount in parts_of(record):
                place = name if name in shown else OTHERS
                amounts[place].append((record.began_s, record.ended_s, amount))
        left = len(ranked) - len(shown)
        tracks = [Track(name, self._means(amounts[name]), totals[name]) for name in shown]
        if left:
            rest = sum(totals[name] for name in ranked[len(shown) :])
            tracks.append(Track(f"{left:,} {OTHERS}", self._means(amounts[OTHERS]), rest, is_rest=True))
        return tracks

    def _means(self, amounts: Iterable[tuple[float, float, float]]) -> tuple[float, ...]:
        return tuple(amount / self.step_s for amount in spread(amounts, self.step_s, self.pieces))


def _sent_to(record: TransferRecord) -> list[tuple[str, float]]:
    moved = [
        name.partition("/")[0]
        for name, outcome in zip(record.destinations, record.outcomes, strict=True)
        if outcome == "moved"
    ]
    if not moved:  # what a transfer sent before it failed counts, too
        moved = [name.partition("/")[0] for name in record.destinations]
    return [(name, record.bytes_moved / len(moved)) for name in moved]


def _read_from(record: TransferRecord) -> list[tuple[str, float]]:
    copies = max(1, record.outcomes.count("moved"))
    return [(record.source.partition("/")[0], record.bytes_moved / copies)]


def _waited(record: TransferRecord) -> tuple[float, float]:
    """How long it waited for its destination and for its source, together no longer than it took."""
    full, empty = record.source_waited_s, record.destination_waited_s
    over = (full + empty) / record.seconds if record.seconds >= LEAST_S else 0.0
    return (full / over, empty / over) if over > 1 else (full, empty)


def limit_tracks(points: Mapping[str, Sequence[tuple[float, float | None]]], step_s: float, pieces: int) -> list[Track]:
    """Limits over time, each as the value that holds at the beginning of a piece; None before the first, and for "no
    limit". `points` are (seconds since the run began, value), in order, by name; `total` is the lowest.
    """
    tracks = []
    for name, series in points.items():
        values: list[float | None] = []
        place, now = 0, None
        for piece in range(pieces):
            while place < len(series) and series[place][0] < (piece + 1) * step_s:
                now = series[place][1]
                place += 1
            values.append(now)
        known = [value for _, value in series if value is not None]
        if known:
            tracks.append(Track(name, tuple(values), min(known)))
    return tracks
