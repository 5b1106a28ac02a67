"""Timeline: which worker moved what, and when: the arithmetic behind the picture and the summary of a run.

Everything here is pure: records go in, and lanes, shares and curves come out. Times are seconds since the run began.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING

from image_syncer.units import LEAST_S
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.telemetry.transfer_record import TransferRecord

__all__ = ["Bar", "Curve", "Timeline", "WorkerLane", "merge_bars", "pack_lanes", "slow_side", "spread"]

_WORTH_NAMING = 0.1
"""Of a transfer's time: a side that held it up for less is not called slow."""


class Bar(Value, frozen=True):
    """Transfers of one kind that follow each other so closely that they are drawn as one: a bar of a lane."""

    began_s: float
    ended_s: float
    kind: str


class WorkerLane(Value, frozen=True):
    """What one worker did. `records` are ordered by their begin; `lanes` says in which sub-lane each of them lies.

    `busy_s` is how long at least one transfer was under way; `idle_share` is the part of the time in which the run
    moved blobs (from the first begin to the last end of all workers) that this worker had nothing to do.
    """

    worker: int
    records: tuple[TransferRecord, ...]
    lanes: tuple[int, ...]
    busy_s: float
    idle_share: float

    @property
    def streams(self) -> int:
        """The most transfers that were under way at once."""
        return max(self.lanes) + 1

    @property
    def bytes_moved(self) -> int:
        """Bytes to all destinations."""
        return sum(record.bytes_moved for record in self.records)


class Curve(Value, frozen=True):
    """A run in pieces of `step_s` seconds, from 0 on; each value is the mean over its piece.

    `bytes_in_flight` are the sizes of the blobs under way, `bytes_per_s` is what moved (a transfer's bytes are spread
    evenly over its time), `transfers` is how many were under way.
    """

    step_s: float
    bytes_in_flight: tuple[float, ...]
    bytes_per_s: tuple[float, ...]
    transfers: tuple[float, ...]


class Timeline:
    """All transfers of a run, of which there has to be at least one; `horizon_s` is how long the run took."""

    def __init__(self, records: Iterable[TransferRecord], horizon_s: float = 0.0) -> None:
        self.records = tuple(sorted(records, key=attrgetter("began_s", "ended_s")))
        self.began_s = self.records[0].began_s
        self.ended_s = max(record.ended_s for record in self.records)
        self.horizon_s = max(horizon_s, self.ended_s)
        by_worker: dict[int, list[TransferRecord]] = defaultdict(list)
        for record in self.records:
            by_worker[record.worker].append(record)
        self.workers = tuple(self._worker_lane(worker, by_worker[worker]) for worker in sorted(by_worker))

    @property
    def span_s(self) -> float:
        """From the first begin to the last end."""
        return self.ended_s - self.began_s

    @property
    def tail_s(self) -> float:
        """How long the last transfer ran alone: what a better order, or a split blob, could save at most."""
        last = max(self.records, key=attrgetter("ended_s"))
        others_ended_s = max((record.ended_s for record in self.records if record is not last), default=last.began_s)
        return last.ended_s - max(others_ended_s, last.began_s)

    @property
    def tail_share(self) -> float:
        """The same as a part of `span_s`."""
        return self.tail_s / self.span_s if self.span_s > 0 else 0.0

    @property
    def most_at_once(self) -> int:
        """The most transfers that were under way at once, over all workers."""
        return max(pack_lanes(self.records)) + 1

    def slowest(self, most: int) -> list[TransferRecord]:
        """The transfers that took longest, longest first."""
        return sorted(self.records, key=lambda record: -record.seconds)[:most]

    def curve(self, pieces: int, of: Sequence[TransferRecord] | None = None) -> Curve:
        """The run (or only some records of it) in so many pieces of equal length."""
        records = self.records if of is None else of
        step_s = self.horizon_s / pieces if self.horizon_s >= LEAST_S else 1.0
        spans = [(record.began_s, record.ended_s, record) for record in records]
        return Curve(
            step_s,
            *(
                tuple(amount / step_s for amount in spread(amounts, step_s, pieces))
                for amounts in (
                    [(began, ended, max(record.size_bytes, 0) * (ended - began)) for began, ended, record in spans],
                    [(began, ended, float(record.bytes_moved)) for began, ended, record in spans],
                    [(began, ended, ended - began) for began, ended, _ in spans],
                )
            ),
        )

    def _worker_lane(self, worker: int, records: list[TransferRecord]) -> WorkerLane:
        busy_s = _covered_s(records)
        idle_share = max(0.0, 1 - busy_s / self.span_s) if self.span_s > 0 else 0.0
        return WorkerLane(worker, tuple(records), tuple(pack_lanes(records)), busy_s, idle_share)


def slow_side(source_waited_s: float, destination_waited_s: float, seconds: float) -> str | None:
    """Who held transfers up that took `seconds`: "source", "destination", "both", or None where nobody did.

    A source that waited was waiting for the destination, and the other way round.
    """
    least_s = _WORTH_NAMING * seconds
    slow = {"destination": source_waited_s, "source": destination_waited_s}
    named = [side for side, waited_s in slow.items() if waited_s > 0 and waited_s >= least_s]
    if len(named) > 1:
        longer, shorter = sorted(slow.values(), reverse=True)
        return "both" if shorter >= longer / 2 else max(slow, key=lambda side: slow[side])
    return named[0] if named else None


def pack_lanes(records: Sequence[TransferRecord]) -> list[int]:
    """A lane for each record, so that none overlap in one; as few lanes as can be, the lowest free one first.

    `records` have to be ordered by their begin.
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

    Pieces begin at 0; what lies past the last one is counted in it. It takes as long as there are amounts and pieces,
    however many pieces an amount lies in.
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
    """The bars of one lane, those that are shorter than `least_s` merged with what follows within that time.

    What can be seen stays as it is. A merged bar has the kind to which most of its time belongs, but "failed" wins over
    everything: a failure must not vanish because it was short. `bars` have to be ordered and must not overlap.
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
