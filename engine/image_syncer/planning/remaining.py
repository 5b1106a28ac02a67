"""What is left of a run at one moment, and how long that takes: plain values, for `time_left.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.planning.work_count import Way, WayCount

__all__ = ["Flow", "Remaining", "TimeLeft"]


class Flow(Struct):
    """What is under way now between two registries: jobs of each kind, and what has come of the streamed ones, once for
    each destination.
    """

    small: int = 0
    streamed: int = 0
    received: int = 0


class Remaining(Value, frozen=True):
    """What is known at one moment, most of it counted since the run began.

    `images` have come up, each counted once for each destination; of these `ended` have an outcome, `copied` of them
    after something was brought, and `open` are being brought now, `waiting` of them for blobs. So many as `window` are
    under way at once. `rules_left` are not resolved to images yet, and `rules` are.

    `ways` is what blobs take, `flows` what is under way; `largest` are the bytes that are left of the largest streamed
    blob, of which so many as `streams` are under way. `rate` and `rates` are the bytes a
    second that all together and single registries may move at most, `alone` says for how many seconds registries are
    not asked for anything (infinity: as long as they are down). `held` is that of a `Snapshot`.
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
    alone: Mapping[str, float] = field(default_factory=dict)
    held: str | None = None


class TimeLeft(Value, frozen=True):
    """`seconds` is as likely to be too short as too long; the truth should be from `least_s` to `most_s`. `waits_for`
    names what takes the longest: "images", "small blobs from registry.example", "bytes to registry.example", "the
    largest blob", "the rate", "the bench". With `more` to come, it is of what is known.
    """

    seconds: float
    least_s: float
    most_s: float
    waits_for: str
    more: bool = False
