"""The time left of a run, from what is left and how fast this run was so far; and from a prediction, where there is
one.

What is left goes through several resources at a time: requests about images and, at each registry and in each
direction, small blobs (which cost requests) and bytes of streamed blobs. Each takes what is left for it divided by its
pace. They overlap, so the slowest counts; or the largest blob, with the pace of a single stream. Images that were not
looked at yet are expected to need what recent images needed. The result is smoothed, and has a span that is wide at
first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.capacity.forecast import Foreseen
    from image_syncer.scheduling.blob_set import Way, WayCount


LEAST_BUSY_S = 1.0
"""A pace counts after this time of work."""
FIRST_AFTER_S = 2.0
"""There is no answer before: the run is too young."""
LEAST_MEMORY_S, MOST_MEMORY_S = 3.0, 60.0
"""A pace looks back for a quarter of the run so far, within these bounds."""
LEAST_PAUSE_S = 5.0
"""Shorter pauses of a registry are part of its pace."""
IMAGES_REMEMBERED = 64
"""The images that predict what the next ones need: this number, or half of those so far, where that is more."""
STREAM_MEMORY_S = 3.0
"""How long the pace of single streams looks back: they get more as soon as others have ended."""
FEWER = 1.3
"""By this factor there must have been more streams before, to tell whether they share bandwidth."""
UNKNOWN_SHARING = 0.5
AFTER_CHANGE_S = 3.0
"""After a change of limits, all work before counts as this time."""
FIRST_SPAN, LEAST_SPAN = 0.5, 0.06
"""Relative: how far off the first and the last answers may be."""
SPAN_HALVES_S = 6.0
"""After this time the first span is halved."""
GUESSED_SPAN = 0.4
"""The span of what is guessed of images that were not looked at yet."""
YOUNG_S, UNSETTLED = 20.0, 0.15
"""A run younger than this gives no answer while its estimate varies by more than this (relative)."""
LEAST_KNOWN = 0.1
"""Nor while a registry without a known pace may take this part of the time."""
SWAYING = 1.5
"""The span on either side, in mean deviations of the estimate."""
TRUST = 0.1
"""The prediction counts as if it had been right for this part of the run."""
MODEL_SPAN = 0.15
"""The error of the simulation either way, as in `docs/capacity.md`."""

_SMALL, _BYTES = "small blobs", "bytes"
_Lane = tuple[str, str, str]
"""What goes ("small blobs", or "bytes" of streamed ones), its direction ("from" or "to"), and the registry's name."""


class Flow(Struct):
    """The jobs of each kind between two registries now, and the bytes that have come of streamed ones, once for each
    destination.
    """

    small: int = 0
    streamed: int = 0
    received: int = 0


class Remaining(Value, frozen=True):
    """The state of a run at one moment; most of it is counted since the run began.

    `images` were found, each counted once for each destination; `ended` of them have an outcome, `copied` of these
    after a copy, `open` are under way, `waiting` of them for blobs. At most `window` are under way at once. `rules` are
    resolved to images, `rules_left` are not.

    `ways` is the work by source and destination, `flows` what is under way; `largest` are the bytes left of the largest
    streamed blob, and `streams` blobs are streamed now. `rate` and `rates` are the limits in bytes per second of all
    registries together and of single ones, `pauses` the seconds of pause of registries (infinity: while they are down).
    `held` is that of a `Snapshot`.
    """

    images: int = 0
    ended: int = 0
    copied: int = 0
    open: int = 0
    waiting: int = 0
    window: int = 256
    rules: int = 0
    rules_left: int = 0
    ways: Mapping[Way, WayCount] = field(default_factory=dict)
    flows: Mapping[Way, Flow] = field(default_factory=dict)
    largest: float = 0.0
    streams: int = 0
    rate: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    pauses: Mapping[str, float] = field(default_factory=dict)
    held: str | None = None


class TimeLeft(Value, frozen=True):
    """The time left: `seconds` is as likely to be too short as too long, between `least_s` and `most_s`. `waits_for`
    names what takes longest: "images", "small blobs from registry.example", "bytes to registry.example", "the largest
    blob", "the rate", "the bench". With `more`, some rules are not resolved yet, and do not count.
    """

    seconds: float
    least_s: float
    most_s: float
    waits_for: str
    more: bool = False


class Pace:
    """How much is done per second of work, with old work forgotten. Idle seconds do not count, so that what waits for
    something else does not look slow.

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
        """Note that `done` was done in `busy_s` of work; work longer ago than `memory_s` counts little. A retry may
        make `done` negative.
        """
        if busy_s <= 0 and done <= 0:
            return
        kept = math.exp(-busy_s / memory_s)
        self._done = max(0.0, self._done * kept + done)
        self._busy_s = self._busy_s * kept + busy_s

    def shorten(self, busy_s: float) -> None:
        """Count all work so far as no more than `busy_s`, after circumstances have changed."""
        if self._busy_s > busy_s:
            self._done *= busy_s / self._busy_s
            self._busy_s = busy_s

    @property
    def per_s(self) -> float | None:
        """The pace; None where too little is known, or nothing was done."""
        return self._done / self._busy_s if self._busy_s >= LEAST_BUSY_S and self._done > 0 else None


class _Estimate(Value, frozen=True):
    """An estimate, to which pauses of registries (`pause_s`) are added."""

    seconds: float
    waits_for: str
    pause_s: float = 0.0
    guessed: float = 0.0
    """The part of it that is guessed."""
    floor_s: float | None = None
    ceiling_s: float | None = None
    """The least and the most it may be."""
    is_borrowed: bool = False
    """Whether its own pace is not known, and that of all registries is used."""


class TimeLeftModel:
    """The time left by the paces of the run; `note` is to be called a few times per second."""

    def __init__(self) -> None:
        self._seen_at: float | None = None
        self._began_at = self._same_since = 0.0
        self._ended: defaultdict[tuple[str, Way], float] = defaultdict(float)
        self._lanes: defaultdict[_Lane, Pace] = defaultdict(Pace)
        self._all = {_SMALL: Pace(), _BYTES: Pace()}
        self._looks, self._publishes = Pace(), Pace()
        self._looked = self._copied = 0
        self._known: defaultdict[tuple[str, Way], float] = defaultdict(float)
        self._per_image: defaultdict[tuple[str, Way], float] = defaultdict(float)
        self._images = 0.0
        self._each = Pace()
        self._crowd = 0, 0.0
        self._sharing = UNKNOWN_SHARING
        self._limits: object = None
        self._long: set[str] = set()
        self._rest: float | None = None
        self._swaying = 0.0
        self._has_answered = False

    def note(self, now: float, remaining: Remaining) -> TimeLeft | None:
        """The time left at `now`; None where too little is known, while the run is paused, and while a registry that is
        needed does not answer.
        """
        if self._seen_at is None:
            self._seen_at = self._began_at = self._same_since = now
        step_s, self._seen_at = max(0.0, now - self._seen_at), now
        remaining = replace(remaining, pauses=self._long_pauses(remaining.pauses))
        self._note_limits(remaining, now)
        same_s = now - self._same_since
        memory_s = min(MOST_MEMORY_S, max(LEAST_MEMORY_S, same_s / 4))
        is_paused = remaining.held == "paused"
        self._learn_flows(remaining, 0.0 if is_paused else step_s, memory_s)
        self._learn_images(remaining, 0.0 if is_paused else step_s, memory_s)
        if is_paused or now - self._began_at < FIRST_AFTER_S:
            return None
        found = self._estimate(remaining, young=same_s < YOUNG_S and not self._has_answered)
        return None if found is None else self._smooth(found, step_s, same_s, remaining)

    # Learning

    def _long_pauses(self, pauses: Mapping[str, float]) -> dict[str, float]:
        """The pauses that were long when they began, until they are over."""
        found = {name: left_s for name, left_s in pauses.items() if left_s >= LEAST_PAUSE_S or name in self._long}
        self._long = set(found)
        return found

    def _note_limits(self, remaining: Remaining, now: float) -> None:
        """After a change of limits or the begin of a drain, forget most of what was before."""
        limits = remaining.rate, dict(remaining.rates), remaining.held == "drains"
        if limits == self._limits:
            return
        if self._limits is not None:
            for pace in (*self._all.values(), *self._lanes.values()):
                pace.shorten(AFTER_CHANGE_S)
            self._rest, self._same_since = None, now
        self._limits = limits

    def _learn_flows(self, remaining: Remaining, step_s: float, memory_s: float) -> None:
        done: defaultdict[_Lane, float] = defaultdict(float)
        busy: set[_Lane] = set()
        for way, count in remaining.ways.items():
            flow = remaining.flows.get(way, _NOTHING)
            for what, ended, under_way in (
                (_SMALL, count.small_ended, flow.small),
                (_BYTES, count.streamed_bytes_ended + flow.received, flow.streamed),
            ):
                new = ended - self._ended[what, way]
                self._ended[what, way] = ended
                if step_s <= 0 or not remaining.pauses.keys().isdisjoint(way):
                    continue  # what ends now was begun before the pause
                for lane in _lanes_of(what, way):
                    done[lane] += new
                    if under_way > 0 or new > 0:
                        busy.add(lane)
        for lane, much in done.items():
            self._lanes[lane].note(much, step_s * (lane in busy), memory_s)
        for what, pace in self._all.items():
            sources = [lane for lane in done if lane[:2] == (what, "from")]
            moved = sum(done[lane] for lane in sources)
            pace.note(moved, step_s * any(lane in busy for lane in sources), memory_s)
            if what == _BYTES and not remaining.pauses:
                self._learn_streams(remaining.streams, moved, step_s)

    def _learn_images(self, remaining: Remaining, step_s: float, memory_s: float) -> None:
        """Discovery, publication and waits for blobs share the window of images: the time of each counts by its part of
        the window.
        """
        looked = remaining.ended + remaining.open
        looking = min(remaining.images - looked, max(0, remaining.window - remaining.open))
        publishing = max(0, remaining.open - remaining.waiting)
        place_s = 0.0 if remaining.pauses else step_s / max(1, looking + remaining.open)
        new, copied = max(0, looked - self._looked), max(0, remaining.copied - self._copied)
        if step_s > 0:
            self._looks.note(new, place_s * looking, memory_s)
            self._publishes.note(copied, place_s * publishing, memory_s)
        self._looked, self._copied = looked, remaining.copied
        if new > 0:
            kept = math.exp(-new / max(IMAGES_REMEMBERED, looked / 2))
            self._images = self._images * kept + new
            for way, count in remaining.ways.items():
                # The largest of all is left out: a giant among the first images does not make the others giants.
                for what, known in ((_SMALL, count.small), (_BYTES, count.streamed_bytes - count.largest)):
                    self._per_image[what, way] = self._per_image[what, way] * kept + known - self._known[what, way]
                    self._known[what, way] = known

    def _learn_streams(self, streams: int, moved: float, step_s: float) -> None:
        """Learn the pace of one stream, and whether streams share bandwidth: whether each gets more when fewer are
        under way.
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

    # Estimating

    def _estimate(self, remaining: Remaining, *, young: bool) -> _Estimate | None:
        """The slowest of all resources; None where one of them has no known pace yet, or is down."""
        looked = remaining.ended + remaining.open
        unseen = float(remaining.images - looked) if remaining.held != "drains" else 0.0
        if remaining.rules and remaining.held != "drains":
            unseen += remaining.rules_left * remaining.images / remaining.rules
        if unseen <= 0 and remaining.open <= 0 and remaining.ended >= remaining.images:
            return _Estimate(0.0, "images")
        registries = self._registries_s(remaining, unseen)
        if registries is None:
            return None
        found = [_Estimate(self._images_s(remaining, unseen), "images", _pause_of_images(remaining)), *registries]
        slowest = max(found, key=lambda one: one.seconds + one.pause_s)
        if math.isinf(slowest.pause_s):
            return None
        if young and any(one.seconds > LEAST_KNOWN * slowest.seconds for one in found if one.is_borrowed):
            return None
        if any(flow.small for flow in remaining.flows.values()):
            # Streams may get the bandwidth of small blobs when none of these are left.
            others = (one.seconds for one in found if not one.waits_for.startswith("bytes"))
            slowest = replace(slowest, floor_s=max(others))
        return self._with_tail(slowest, remaining)

    def _registries_s(self, remaining: Remaining, unseen: float) -> list[_Estimate] | None:
        """The time of each lane that has something left, and of all bytes at the limit of their rate. None where no
        pace is known of a lane.
        """
        left: defaultdict[_Lane, float] = defaultdict(float)
        guessed: defaultdict[_Lane, float] = defaultdict(float)
        every_byte = 0.0
        for way, count in remaining.ways.items():
            received = count.streamed_bytes_ended + remaining.flows.get(way, _NOTHING).received
            every_byte += max(0, count.small_bytes - count.small_bytes_ended)
            for what, known in ((_SMALL, count.small - count.small_ended), (_BYTES, count.streamed_bytes - received)):
                expected = self._expected(what, way, unseen)
                every_byte += max(0, known) + expected if what == _BYTES else 0.0
                for lane in _lanes_of(what, way):
                    left[lane] += max(0, known) + expected
                    guessed[lane] += expected
        found = []
        for lane, much in left.items():
            if much > 0:
                one = self._lane_s(lane, much, guessed[lane], remaining)
                if one is None:
                    return None
                found.append(one)
        if remaining.rate and every_byte:
            found.append(_Estimate(every_byte / remaining.rate, "the rate"))
        return found

    def _expected(self, what: str, way: Way, unseen: float) -> float:
        """Small blobs, or bytes of streamed ones, that images not looked at yet need between these registries."""
        if unseen <= 0 or self._images <= 0:
            return 0.0
        return max(0.0, self._per_image[what, way]) / self._images * unseen

    def _images_s(self, remaining: Remaining, unseen: float) -> float:
        """The time of the requests about images themselves."""
        looked = max(1, remaining.ended + remaining.open)
        to_publish = remaining.open + unseen * min(1.0, (remaining.copied + remaining.open) / looked)
        looks, publishes = self._looks.per_s, self._publishes.per_s
        return (unseen / looks if looks else 0.0) + (to_publish / publishes if publishes else 0.0)

    def _lane_s(self, lane: _Lane, much: float, guessed: float, remaining: Remaining) -> _Estimate | None:
        """The time of what one registry has to do in one direction. None where no pace is known."""
        what, _, registry = lane
        per_s = self._lanes[lane].per_s
        if per_s and what == _BYTES:
            per_s = min(per_s, remaining.rates.get(registry) or per_s)
        pause_s = remaining.pauses.get(registry, 0.0)
        taken = per_s or self._all[what].per_s
        if taken is None and not math.isinf(pause_s):
            return None
        seconds = much / taken if taken else 0.0
        return _Estimate(seconds, " ".join(lane), pause_s, guessed / much, is_borrowed=per_s is None)

    def _with_tail(self, slowest: _Estimate, remaining: Remaining) -> _Estimate:
        """The largest blob, with the pace of one stream. While all streams are under way it is not known how fast one
        is alone: it may get the bandwidth of all. When some have ended, the others show whether they share bandwidth.
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
        return _Estimate(seconds, "the largest blob", slowest.pause_s, slowest.guessed, floor_s, tail_s)

    # Smoothing

    def _smooth(self, found: _Estimate, step_s: float, same_s: float, remaining: Remaining) -> TimeLeft | None:
        """The recent mean, which goes down with time; earlier estimates count the less, the less is left. None where a
        run is young and its estimate varies.
        """
        if self._rest is None:
            self._rest = found.seconds
        if found.pause_s <= 0:
            self._rest = max(0.0, self._rest - step_s)
        off = found.seconds - self._rest
        patience_s = max(0.5, min(15.0, same_s / 8, self._rest / 10))
        self._rest += off * (1 - math.exp(-step_s / patience_s))
        relative = abs(off) / max(1.0, self._rest, found.seconds)
        self._swaying += (relative - self._swaying) * (1 - math.exp(-step_s / max(2.0, same_s / 4)))
        if same_s < YOUNG_S and self._swaying > UNSETTLED and not self._has_answered:
            return None
        self._has_answered = True
        young = FIRST_SPAN * SPAN_HALVES_S / (SPAN_HALVES_S + same_s)
        span = math.hypot(LEAST_SPAN, young, SWAYING * self._swaying, GUESSED_SPAN * found.guessed)
        seconds = self._rest + found.pause_s
        least_s = found.pause_s + self._rest / (1 + span)
        if found.floor_s is not None:
            least_s = min(least_s, found.pause_s + found.floor_s)
        most_s = found.pause_s + max(self._rest * (1 + span), found.ceiling_s or 0.0)
        return TimeLeft(seconds, least_s, most_s, found.waits_for, more=bool(remaining.rules_left))


_NOTHING = Flow()


def _lanes_of(what: str, way: Way) -> tuple[_Lane, _Lane]:
    return (what, "from", way[0]), (what, "to", way[1])


def _pause_of_images(remaining: Remaining) -> float:
    """How long no image can proceed: while all registries of one direction are paused."""
    sources, destinations = ([remaining.pauses.get(way[side], 0.0) for way in remaining.ways] for side in (0, 1))
    return max(min(sources, default=0.0), min(destinations, default=0.0))


class PredictedTimeLeft:
    """The time left by a prediction, corrected by what happens; `note` is to be called a few times per second.

    What is left by the prediction is stretched as the run so far was; early on only a little. The further the run is,
    the more the estimate by its own paces counts, which sees what no simulation can.
    """

    def __init__(self, prediction: Foreseen) -> None:
        self._prediction = prediction
        self._seen_at: float | None = None
        self._held_s = 0.0

    def note(
        self, now: float, elapsed_s: float, progress: float, own: TimeLeft | None, *, held: bool
    ) -> TimeLeft | None:
        """The time left of a run that has made that `progress` after `elapsed_s`, at `now`; `own` is the estimate by
        its paces. While it is `held`, by a pause or a rate limit, only `own` counts.
        """
        step_s = 0.0 if self._seen_at is None else now - self._seen_at
        self._seen_at = now
        if held:
            self._held_s += step_s
            return own
        predicted, spent_s = self._prediction, max(0.0, elapsed_s - self._held_s)
        at_s, trusted_s = predicted.at_s(progress), TRUST * predicted.seconds
        factor = (trusted_s + spent_s) / (trusted_s + at_s) if trusted_s + at_s > 0 else 1.0
        rest_s = max(0.0, predicted.seconds - at_s) * factor
        span = 1 + math.hypot(MODEL_SPAN, abs(math.log(max(1e-6, factor))) / 2)
        model = TimeLeft(rest_s, rest_s / span, rest_s * span, "the bench")
        if own is None:
            return model
        mixed = {name: getattr(model, name) * (1 - progress) + getattr(own, name) * progress for name in _TIMES}
        counts_more = own if progress > 0.5 else model  # noqa: PLR2004 - half
        return TimeLeft(**mixed, waits_for=counts_more.waits_for, more=own.more)


_TIMES = ("seconds", "least_s", "most_s")
