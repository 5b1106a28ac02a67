"""Time left: how long the rest of a run takes, reckoned from what is left and how fast this very run got on so far.

What is left goes through several resources at a time: the requests about images, and at each registry, on the way from
it or to it, small blobs (which cost requests) and the bytes of streamed ones. Each takes what is left for it, divided
by its pace while it was worked on (`pace.py`). They overlap, so that the slowest of them says how long the run takes;
but where one large blob is left, that blob does, with what a single stream gets.

Of images that nobody has looked at yet it is not known what they need. They are taken to be as those of late, of which
later ones share blobs with earlier ones: what counts is what was new in each.

What comes out is smoothed, and has a span: it is wide in the beginning, where much is not known yet, and where the
reckoning has been swaying. Pure: time comes in as an argument, in seconds.

Pace: how much of something is done in a second in which it is worked on, with what is long past forgotten.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from image_syncer.planning.remaining import Flow, TimeLeft
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.planning.remaining import Remaining
    from image_syncer.planning.work_count import Way

__all__ = ["Pace", "TimeLeftModel"]


LEAST_BUSY_S = 1.0
"""Of less work than this nothing is said."""


class Pace:
    """Takes steps: so much was done in so many seconds of work. Seconds in which nobody worked on it count for nothing,
    so that what has to wait for something else does not look slow.

    >>> pace = Pace()
    >>> for _ in range(10):
    ...     pace.note(done=50, busy_s=0.5, memory_s=10)
    >>> pace.per_s
    100.0
    """

    __slots__ = ("_busy_s", "_done")

    def __init__(self) -> None:
        self._done = 0.0
        self._busy_s = 0.0

    def note(self, done: float, busy_s: float, memory_s: float) -> None:
        """So much was `done` in `busy_s` of work; what is longer ago than `memory_s` of work counts little. What was
        done may be less than nothing, where something is tried anew.
        """
        if busy_s <= 0 and done <= 0:
            return
        kept = math.exp(-busy_s / memory_s)
        self._done = max(0.0, self._done * kept + done)
        self._busy_s = self._busy_s * kept + busy_s

    def shorten(self, busy_s: float) -> None:
        """Circumstances have changed: what was counts as no more than `busy_s` of work."""
        if self._busy_s > busy_s:
            self._done *= busy_s / self._busy_s
            self._busy_s = busy_s

    @property
    def per_s(self) -> float | None:
        """None where too little is known, or nothing was done."""
        return self._done / self._busy_s if self._busy_s >= LEAST_BUSY_S and self._done > 0 else None


FIRST_AFTER_S = 2.0
"""Before so much of a run, nothing is said: it has looked at the clock more often than at the network."""
LEAST_MEMORY_S, MOST_MEMORY_S = 3.0, 60.0
"""How long a pace looks back: a quarter of what was so far, within these bounds."""
LEAST_ALONE_S = 5.0
"""Shorter pauses belong to the pace of a registry."""
IMAGES_REMEMBERED = 64
"""At least so many images say what the next ones need; half of those so far, where that is more."""
STREAM_MEMORY_S = 3.0
"""How long the pace of single streams looks back: they get more as soon as others have ended."""
FEWER = 1.3
"""By so much there must have been more streams to tell whether they share."""
UNKNOWN_SHARING = 0.5
AFTER_CHANGE_S = 3.0
"""What was before limits have changed counts as so much."""
FIRST_SPAN, LEAST_SPAN = 0.5, 0.06
"""Relative: how far off the first and the last answers may be."""
SPAN_HALVES_S = 6.0
"""The first span is down to its half after so long."""
GUESSED_SPAN = 0.4
"""Of what is guessed of images that nobody has looked at."""
YOUNG_S = 20.0
UNSETTLED = 0.15
"""So long, nothing is said while what is reckoned sways by so much (relative)."""
LEAST_KNOWN = 0.1
"""And none while a registry whose pace nobody knows may take this part of the time."""
SWAYING = 1.5
"""How many mean deviations the span has on either side."""

_Lane = tuple[str, str]
"""Which side, and the name of the registry."""


class _Reckoned(Value, frozen=True):
    """Without what registries are `alone` for, which is added as it is."""

    seconds: float
    waits_for: str
    alone_s: float = 0.0
    guessed: float = 0.0
    """The part of it that is guessed."""
    floor_s: float | None = None
    ceiling_s: float | None = None
    """It may be as little, and as much, as this."""
    is_borrowed: bool = False
    """Whether the pace is that of others, since nobody knows its own."""


class _Left(Struct):
    """What is left for one registry on one side, and the part of it that is guessed."""

    small: float = 0.0
    bytes: float = 0.0
    guessed_small: float = 0.0
    guessed_bytes: float = 0.0


class _LanePace:
    """What one registry does on one side."""

    def __init__(self) -> None:
        self.small, self.bytes = Pace(), Pace()


class TimeLeftModel:
    """To be told about a run a few times a second."""

    def __init__(self) -> None:
        self._seen_at: float | None = None
        self._began_at = self._same_since = 0.0
        self._before: dict[Way, tuple[int, float]] = {}
        self._lanes: defaultdict[_Lane, _LanePace] = defaultdict(_LanePace)
        self._all_bytes, self._all_small = Pace(), Pace()
        self._looks, self._publishes = Pace(), Pace()
        self._looked = self._copied = 0
        self._known: dict[Way, tuple[int, int]] = {}
        self._per_image: defaultdict[Way, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._images = self._brought = 0.0
        self._each = Pace()
        self._crowd = 0, 0.0
        self._sharing = UNKNOWN_SHARING
        self._orders: object = None
        self._alone: set[str] = set()
        self._rest: float | None = None
        self._swaying = 0.0
        self._has_said = False

    def note(self, now: float, remaining: Remaining) -> TimeLeft | None:
        """How long the rest takes, as far as is known at `now`; None where too little is, while the run is paused, and
        while a registry that is needed does not answer.
        """
        if self._seen_at is None:
            self._seen_at = self._began_at = self._same_since = now
        step_s, self._seen_at = max(0.0, now - self._seen_at), now
        remaining = replace(remaining, alone=self._long_pauses(remaining.alone))
        self._see_orders(remaining, now)
        same_s = now - self._same_since
        memory_s = min(MOST_MEMORY_S, max(LEAST_MEMORY_S, same_s / 4))
        is_paused = remaining.held == "paused"
        self._learn_flows(remaining, 0.0 if is_paused else step_s, memory_s)
        self._learn_images(remaining, 0.0 if is_paused else step_s, memory_s)
        if is_paused or now - self._began_at < FIRST_AFTER_S:
            return None
        found = self._reckon(remaining, young=same_s < YOUNG_S and not self._has_said)
        return None if found is None else self._smooth(found, step_s, same_s, remaining)

    # What is learnt

    def _long_pauses(self, alone: Mapping[str, float]) -> dict[str, float]:
        """Those that were long when they began, until they are over."""
        found = {name: left_s for name, left_s in alone.items() if left_s >= LEAST_ALONE_S or name in self._alone}
        self._alone = set(found)
        return found

    def _see_orders(self, remaining: Remaining, now: float) -> None:
        """Where somebody has set other limits, or has let the run drain, what was before says little."""
        orders = remaining.rate, dict(remaining.rates), remaining.held == "drains"
        if orders == self._orders:
            return
        if self._orders is not None:
            lanes = (one for lane in self._lanes.values() for one in (lane.small, lane.bytes))
            for pace in (self._all_bytes, self._all_small, *lanes):
                pace.shorten(AFTER_CHANGE_S)
            self._rest, self._same_since = None, now
        self._orders = orders

    def _learn_flows(self, remaining: Remaining, step_s: float, memory_s: float) -> None:
        done: defaultdict[_Lane, list[float]] = defaultdict(lambda: [0.0, 0.0])
        busy: dict[_Lane, list[bool]] = {}
        for way, count in remaining.ways.items():
            flow = remaining.flows.get(way, _NOTHING)
            small, streamed = count.small_ended, float(count.streamed_bytes_ended + flow.received)
            before = self._before.get(way, (0, 0.0))
            self._before[way] = small, streamed
            if step_s <= 0 or not remaining.alone.keys().isdisjoint(way):
                continue  # what ends now was begun before, and says nothing of what comes
            for lane in _lanes_of(way):
                done[lane][0] += small - before[0]
                done[lane][1] += streamed - before[1]
                works = busy.setdefault(lane, [False, False])
                works[0] |= flow.small > 0 or small > before[0]
                works[1] |= flow.streamed > 0 or streamed > before[1]
        for lane, (small_done, bytes_done) in done.items():
            pace, (is_small, is_streamed) = self._lanes[lane], busy[lane]
            pace.small.note(small_done, step_s * is_small, memory_s)
            pace.bytes.note(bytes_done, step_s * is_streamed, memory_s)
        sources = [lane for lane in done if lane[0] == "from"]
        moved = sum(done[lane][1] for lane in sources)
        if not remaining.alone:
            self._learn_streams(remaining.streams, moved, step_s)
        self._all_small.note(
            sum(done[lane][0] for lane in sources), step_s * any(busy[lane][0] for lane in sources), memory_s
        )
        self._all_bytes.note(moved, step_s * any(busy[lane][1] for lane in sources), memory_s)

    def _learn_images(self, remaining: Remaining, step_s: float, memory_s: float) -> None:
        """Looks at images, ends of those that have their blobs, and waits for blobs have the places of images under way
        among them: the time of each counts by its part of the places.
        """
        looked = remaining.ended + remaining.open
        looking = min(remaining.images - looked, max(0, remaining.window - remaining.open))
        publishing = max(0, remaining.open - remaining.waiting)
        place_s = 0.0 if remaining.alone else step_s / max(1, looking + remaining.open)
        new, copied = max(0, looked - self._looked), max(0, remaining.copied - self._copied)
        brought = remaining.copied + remaining.open
        if step_s > 0:
            self._looks.note(new, place_s * looking, memory_s)
            self._publishes.note(copied, place_s * publishing, memory_s)
        self._looked, self._copied = looked, remaining.copied
        if new > 0:
            kept = math.exp(-new / max(IMAGES_REMEMBERED, looked / 2))
            self._images = self._images * kept + new
            self._brought += (brought - self._brought) * (1 - kept) if looked > new else brought - self._brought
            for way, count in remaining.ways.items():
                small, streamed = self._known.get(way, (0, 0))
                # The largest of all is left out: a giant among the first images makes none of the others.
                usual = count.streamed_bytes - count.largest
                per_image = self._per_image[way]
                per_image[0] = per_image[0] * kept + count.small - small
                per_image[1] = per_image[1] * kept + usual - streamed
                self._known[way] = count.small, usual

    def _learn_streams(self, streams: int, moved: float, step_s: float) -> None:
        """What one stream gets now, and how much more than when most were under way: as much as there is for all, by
        their number, where they share; no more where each has a bound of its own.
        """
        self._each.note(moved, step_s * streams, STREAM_MEMORY_S * max(1, streams))
        each = self._each.per_s
        if each is None or not streams:
            return
        if streams >= self._crowd[0]:
            self._crowd = streams, each
        elif self._crowd[0] >= FEWER * streams:
            grown = math.log(each / self._crowd[1]) / math.log(self._crowd[0] / streams)
            self._sharing = min(1.0, max(0.0, grown))

    # What is reckoned

    def _reckon(self, remaining: Remaining, *, young: bool) -> _Reckoned | None:
        """The slowest of all resources; None where one of them has done nothing yet, or is down."""
        looked = remaining.ended + remaining.open
        unseen = float(remaining.images - looked) if remaining.held != "drains" else 0.0
        if remaining.rules and remaining.held != "drains":
            unseen += remaining.rules_left * remaining.images / remaining.rules
        if unseen <= 0 and remaining.open <= 0 and remaining.ended >= remaining.images:
            return _Reckoned(0.0, "images")
        left: defaultdict[_Lane, _Left] = defaultdict(_Left)
        every_byte = 0.0
        for way, count in remaining.ways.items():
            flow = remaining.flows.get(way, _NOTHING)
            small = max(0, count.small - count.small_ended)
            streamed = max(0, count.streamed_bytes - count.streamed_bytes_ended - flow.received)
            new_small, new_bytes = self._expected(way, unseen)
            every_byte += streamed + new_bytes + max(0, count.small_bytes - count.small_bytes_ended)
            for lane in _lanes_of(way):
                there = left[lane]
                there.small += small + new_small
                there.bytes += streamed + new_bytes
                there.guessed_small += new_small
                there.guessed_bytes += new_bytes
        found = [_Reckoned(self._images_s(remaining, unseen), "images", _held_up(remaining, left))]
        for lane, there in left.items():
            one = self._lane_s(lane, there, remaining)
            if one is None:
                return None
            found += one
        if remaining.rate and every_byte:
            found.append(_Reckoned(every_byte / remaining.rate, "the rate"))
        slowest = max(found, key=lambda one: one.seconds + one.alone_s)
        if math.isinf(slowest.alone_s):
            return None
        if young and any(one.seconds > LEAST_KNOWN * slowest.seconds for one in found if one.is_borrowed):
            return None
        if any(flow.small for flow in remaining.flows.values()):
            # Streams may get what small blobs take now, when there are none left.
            others = (one.seconds for one in found if not one.waits_for.startswith("bytes"))
            slowest = replace(slowest, floor_s=max(others))
        return self._with_tail(slowest, remaining)

    def _expected(self, way: Way, unseen: float) -> tuple[float, float]:
        """Small blobs, and bytes of streamed ones, that images which nobody has looked at need on this way."""
        if unseen <= 0 or self._images <= 0:
            return 0.0, 0.0
        small, streamed = self._per_image[way]
        return max(0.0, small) / self._images * unseen, max(0.0, streamed) / self._images * unseen

    def _images_s(self, remaining: Remaining, unseen: float) -> float:
        """What is to be asked and said about images themselves."""
        looked = max(1, remaining.ended + remaining.open)
        to_publish = remaining.open + unseen * min(1.0, (remaining.copied + remaining.open) / looked)
        looks, publishes = self._looks.per_s, self._publishes.per_s
        return (unseen / looks if looks else 0.0) + (to_publish / publishes if publishes else 0.0)

    def _lane_s(self, lane: _Lane, left: _Left, remaining: Remaining) -> list[_Reckoned] | None:
        """How long one registry takes on one side, for each kind of blobs. None where nothing tells."""
        (side, registry), pace = lane, self._lanes[lane]
        small, streamed = pace.small.per_s, pace.bytes.per_s
        bound = remaining.rates.get(registry)
        if streamed and bound:
            streamed = min(streamed, bound)
        alone_s = remaining.alone.get(registry, 0.0)
        found = []
        for what, much, guessed, per_s, of_all in (
            ("small blobs", left.small, left.guessed_small, small, self._all_small.per_s),
            ("bytes", left.bytes, left.guessed_bytes, streamed, self._all_bytes.per_s),
        ):
            if much <= 0:
                continue
            taken = per_s or of_all
            if taken is None and not math.isinf(alone_s):
                return None
            seconds = much / taken if taken else 0.0
            name = f"{what} {side} {registry}"
            found.append(_Reckoned(seconds, name, alone_s, guessed / much, is_borrowed=per_s is None))
        return found

    def _with_tail(self, slowest: _Reckoned, remaining: Remaining) -> _Reckoned:
        """The largest blob, with what one stream gets. As long as all are under way, nobody knows what one gets alone:
        it may be as much as all, and the truth is somewhere between. When some have ended, the others tell whether they
        share: then they get more.
        """
        each = self._each.per_s
        if remaining.largest <= 0 or not each or slowest.seconds <= 0:
            return slowest
        tail_s = remaining.largest / each
        if tail_s <= slowest.seconds:
            return slowest
        floor_s = slowest.floor_s if remaining.streams == 1 or slowest.floor_s is not None else slowest.seconds
        sharing = self._sharing if remaining.streams > 1 else 0.0
        seconds = tail_s ** (1 - sharing) * slowest.seconds**sharing
        return _Reckoned(seconds, "the largest blob", slowest.alone_s, slowest.guessed, floor_s, tail_s)

    # What is said

    def _smooth(self, found: _Reckoned, step_s: float, same_s: float, remaining: Remaining) -> TimeLeft | None:
        """The mean of late, which goes down with time; what was said before counts the less, the less is left. None
        where a run is young, and has not settled.
        """
        if self._rest is None:
            self._rest = found.seconds
        if found.alone_s <= 0:
            self._rest = max(0.0, self._rest - step_s)
        off = found.seconds - self._rest
        patience_s = max(0.5, min(15.0, same_s / 8, self._rest / 10))
        self._rest += off * (1 - math.exp(-step_s / patience_s))
        relative = abs(off) / max(1.0, self._rest, found.seconds)
        self._swaying += (relative - self._swaying) * (1 - math.exp(-step_s / max(2.0, same_s / 4)))
        if same_s < YOUNG_S and self._swaying > UNSETTLED and not self._has_said:
            return None
        self._has_said = True
        young = FIRST_SPAN * SPAN_HALVES_S / (SPAN_HALVES_S + same_s)
        span = math.hypot(LEAST_SPAN, young, SWAYING * self._swaying, GUESSED_SPAN * found.guessed)
        seconds = self._rest + found.alone_s
        least_s = found.alone_s + self._rest / (1 + span)
        if found.floor_s is not None:
            least_s = min(least_s, found.alone_s + found.floor_s)
        most_s = found.alone_s + max(self._rest * (1 + span), found.ceiling_s or 0.0)
        return TimeLeft(seconds, least_s, most_s, found.waits_for, more=bool(remaining.rules_left))


_NOTHING = Flow()


def _lanes_of(way: Way) -> tuple[_Lane, _Lane]:
    return ("from", way[0]), ("to", way[1])


def _held_up(remaining: Remaining, left: Mapping[_Lane, _Left]) -> float:
    """How long nothing can be asked of images: where all registries of one side are left alone."""
    if not remaining.alone:
        return 0.0
    longest = 0.0
    for side in ("from", "to"):
        waits = [remaining.alone.get(registry, 0.0) for one, registry in left if one == side]
        longest = max(longest, min(waits, default=0.0))
    return longest
