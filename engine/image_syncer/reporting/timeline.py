"""The transfers of a run over time: lanes of workers, curves of registries, waits and limits, for pictures and
summaries.

A curve is a list of means over pieces of time of equal length, so it is as long for a million transfers as for ten.
Times are seconds since the run began.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from heapq import heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from image_syncer.units import LEAST_S
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from image_syncer.telemetry.report import TransferRecord


OTHERS = "others"
"""The name of the sum of all that is not shown one by one."""


class Track(Value, frozen=True):
    """One curve: its name, its values, and their sum (bytes, or transfers). A value of None is unknown, or no limit.
    With `is_rest`, it is the sum of all that is not shown.
    """

    name: str
    values: tuple[float | None, ...]
    total: float = 0.0
    is_rest: bool = False


class RunCurves:
    """The transfers of a run in `pieces` of `step_s` seconds; `horizon_s` is how long the run took."""

    def __init__(self, records: Sequence[TransferRecord], horizon_s: float, pieces: int) -> None:
        self._records = records
        self.pieces = pieces
        self.horizon_s = max([horizon_s, *(record.ended_s for record in records)])
        self.step_s = _step_s(self.horizon_s, pieces)
        self.began_s = min((record.began_s for record in records), default=0.0)
        self.last_worker = max((record.worker for record in records), default=0)

    def to_registries(self, most: int) -> list[Track]:
        """Bytes per second to each destination registry, most bytes first."""
        return self._ranked(_sent_to, most)

    def from_registries(self, most: int) -> list[Track]:
        """Bytes per second from each source registry; what went to several destinations was read once."""
        return self._ranked(_read_from, most)

    def workers(self, most: int) -> list[Track]:
        """Transfers under way in each worker, those with the lowest numbers; `total` is its transfers."""
        return [
            Track(str(worker), self._means((one.began_s, one.ended_s, one.seconds) for one in records), len(records))
            for worker, records in _by_worker(self._records)[:most]
        ]

    def waits(self, of: Sequence[TransferRecord] | None = None) -> list[Track]:
        """The share of the transfers' time in each piece in which they waited for the destination (full rings), for the
        source (empty rings), and the rest. None where nothing was under way. With `of`, only these transfers count.
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
        """Transfers that failed in each piece."""
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
        return _means(amounts, self.step_s, self.pieces)


def _means(amounts: Iterable[tuple[float, float, float]], step_s: float, pieces: int) -> tuple[float, ...]:
    return tuple(amount / step_s for amount in spread(amounts, step_s, pieces))


def _step_s(horizon_s: float, pieces: int) -> float:
    return horizon_s / pieces if horizon_s >= LEAST_S else 1.0


def _by_worker(records: Iterable[TransferRecord]) -> list[tuple[int, list[TransferRecord]]]:
    """The transfers of each worker, in their order."""
    found: defaultdict[int, list[TransferRecord]] = defaultdict(list)
    for record in records:
        found[record.worker].append(record)
    return sorted(found.items())


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
    """Limits over time, each as the value at the begin of a piece; None before the first, and for "no limit". `points`
    are (seconds since the run began, value), in order, by name; `total` is the lowest.
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


_WORTH_NAMING = 0.1
"""The least part of its time for which a side must hold up a transfer to be called slow."""


class Bar(Value, frozen=True):
    """A bar of a lane: transfers of one kind that follow each other closely."""

    began_s: float
    ended_s: float
    kind: str


class WorkerLane(Value, frozen=True):
    """The transfers of one worker. `records` are ordered by their begin; `lanes` has the sub-lane of each. `busy_s` is
    how long at least one transfer was under way; `idle_share` is the part of the time between the first begin and the
    last end of all workers in which this worker had nothing to do.
    """

    worker: int
    records: tuple[TransferRecord, ...]
    lanes: tuple[int, ...]
    busy_s: float
    idle_share: float

    @property
    def streams(self) -> int:
        """The most transfers under way at once."""
        return max(self.lanes) + 1

    @property
    def bytes_moved(self) -> int:
        """Bytes to all destinations."""
        return sum(record.bytes_moved for record in self.records)


class Curve(Value, frozen=True):
    """A run in pieces of `step_s` seconds, from 0 on; each value is the mean over its piece. `bytes_in_flight` are the
    sizes of the blobs under way, `bytes_per_s` is what moved (spread evenly over the time of a transfer), `transfers`
    is how many were under way.
    """

    step_s: float
    bytes_in_flight: tuple[float, ...]
    bytes_per_s: tuple[float, ...]
    transfers: tuple[float, ...]


class Timeline:
    """All transfers of a run, at least one; `horizon_s` is how long the run took."""

    def __init__(self, records: Iterable[TransferRecord], horizon_s: float = 0.0) -> None:
        self.records = tuple(sorted(records, key=attrgetter("began_s", "ended_s")))
        self.began_s = self.records[0].began_s
        self.ended_s = max(record.ended_s for record in self.records)
        self.horizon_s = max(horizon_s, self.ended_s)
        self.workers = tuple(self._worker_lane(*each) for each in _by_worker(self.records))

    @property
    def span_s(self) -> float:
        """From the first begin to the last end."""
        return self.ended_s - self.began_s

    @property
    def tail_s(self) -> float:
        """How long the last transfer ran alone: the most that a better order, or a split blob, could save."""
        last = max(self.records, key=attrgetter("ended_s"))
        others_ended_s = max((record.ended_s for record in self.records if record is not last), default=last.began_s)
        return last.ended_s - max(others_ended_s, last.began_s)

    @property
    def tail_share(self) -> float:
        """The same as a part of `span_s`."""
        return self.tail_s / self.span_s if self.span_s > 0 else 0.0

    @property
    def most_at_once(self) -> int:
        """The most transfers under way at once, over all workers."""
        return max(pack_lanes(self.records)) + 1

    def slowest(self, most: int) -> list[TransferRecord]:
        """The slowest transfers, the slowest first."""
        return sorted(self.records, key=lambda record: -record.seconds)[:most]

    def curve(self, pieces: int, of: Sequence[TransferRecord] | None = None) -> Curve:
        """The run (or only some records of it) in `pieces` of equal length."""
        records, step_s = self.records if of is None else of, _step_s(self.horizon_s, pieces)
        in_flight = ((one.began_s, one.ended_s, max(one.size_bytes, 0) * one.seconds) for one in records)
        moved = ((one.began_s, one.ended_s, float(one.bytes_moved)) for one in records)
        under_way = ((one.began_s, one.ended_s, one.seconds) for one in records)
        return Curve(step_s, *(_means(each, step_s, pieces) for each in (in_flight, moved, under_way)))

    def _worker_lane(self, worker: int, records: list[TransferRecord]) -> WorkerLane:
        busy_s = _covered_s(records)
        idle_share = max(0.0, 1 - busy_s / self.span_s) if self.span_s > 0 else 0.0
        return WorkerLane(worker, tuple(records), tuple(pack_lanes(records)), busy_s, idle_share)


def slow_side(source_waited_s: float, destination_waited_s: float, seconds: float) -> str | None:
    """The side that held up transfers that took `seconds`: "source", "destination", "both", or None. A source that
    waited was waiting for the destination, and the other way round.
    """
    least_s = _WORTH_NAMING * seconds
    slow = {"destination": source_waited_s, "source": destination_waited_s}
    named = [side for side, waited_s in slow.items() if waited_s > 0 and waited_s >= least_s]
    if len(named) > 1:
        longer, shorter = sorted(slow.values(), reverse=True)
        return "both" if shorter >= longer / 2 else max(slow, key=lambda side: slow[side])
    return named[0] if named else None


def pack_lanes(records: Sequence[TransferRecord]) -> list[int]:
    """A lane for each record, so that none overlap in one; as few lanes as possible, the lowest free one first.
    `records` must be ordered by their begin.
    """
    under_way: list[tuple[float, int]] = []
    free: list[int] = []
    lanes = []
    count = 0
    for record in records:
        while under_way and under_way[0][0] <= record.began_s:
            heappush(free, heappop(under_way)[1])
        if free:
            lane = heappop(free)
        else:
            lane, count = count, count + 1
        lanes.append(lane)
        heappush(under_way, (record.ended_s, lane))
    return lanes


def spread(amounts: Iterable[tuple[float, float, float]], step_s: float, pieces: int) -> list[float]:
    """How much of each amount (began_s, ended_s, amount), spread evenly over its time, falls into each piece of time.
    Pieces begin at 0; what is past the last one counts in it. It takes time for the amounts and the pieces, however
    many pieces an amount covers.
    """
    sums = [0.0] * pieces
    slopes = [0.0] * (pieces + 1)  # how much more (or less) of a whole piece's share there is from this one on
    last = pieces - 1
    for began_s, ended_s, amount in amounts:
        first, final = (min(max(int(at // step_s), 0), last) for at in (began_s, ended_s))
        if first == final:
            sums[first] += amount
            continue
        per_s = amount / (ended_s - began_s)
        head = per_s * ((first + 1) * step_s - began_s)
        whole = per_s * step_s
        sums[first] += head
        sums[final] += amount - head - whole * (final - first - 1)
        slopes[first + 1] += whole
        slopes[final] -= whole
    level = 0.0
    for piece in range(pieces):
        level += slopes[piece]
        sums[piece] = max(0.0, sums[piece] + level)
    return sums


def merge_bars(bars: Sequence[Bar], least_s: float) -> list[Bar]:
    """The bars of one lane, with those shorter than `least_s` merged with what follows within that time.

    A merged bar has the kind of most of its time, but "failed" wins: a failure must not vanish because it was short.
    `bars` must be ordered and must not overlap.
    """
    merged: list[Bar] = []
    group: list[Bar] = []
    for bar in bars:
        if group and (bar.ended_s - bar.began_s >= least_s or bar.ended_s - group[0].began_s > least_s):
            merged.append(_as_one(group))
            group = []
        if bar.ended_s - bar.began_s >= least_s:
            merged.append(bar)
        else:
            group.append(bar)
    if group:
        merged.append(_as_one(group))
    return merged


def _as_one(group: list[Bar]) -> Bar:
    times: dict[str, float] = defaultdict(float)
    for bar in group:
        times[bar.kind] += bar.ended_s - bar.began_s
    kind = "failed" if "failed" in times else max(times, key=lambda kind: times[kind])
    return Bar(group[0].began_s, group[-1].ended_s, kind)


def _covered_s(records: Sequence[TransferRecord]) -> float:
    """How long at least one of `records` (ordered by begin) was under way."""
    covered_s = 0.0
    until_s = 0.0
    for record in records:
        covered_s += max(0.0, record.ended_s - max(record.began_s, until_s))
        until_s = max(until_s, record.ended_s)
    return covered_s
