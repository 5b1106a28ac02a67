"""When rounds begin: at an interval, or at the times of a cron expression. Pure: clock and chance are arguments.

Rounds begin at points of a grid that does not shift: every ten minutes after the first one, or at the minutes that the
expression names. A round that takes longer than the time to the next point makes that point fall out, and the points
after it while it lasts: two rounds never run at once, and none is made up for.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Protocol

from cronsim import CronSim, CronSimError

from image_syncer.units import parse_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["CronSchedule", "IntervalSchedule", "Schedule", "Start", "parse_schedule"]

LEAST_EVERY_S = 1.0
LONGEST_EVERY_S = 366 * 86400.0
MOST_LEFT_OUT = 1000
"""Points that are counted when they fall out; after that, nobody wants to know how many more there were."""
_CLOCK_SET_BACK_S = 86400.0
"""A point that lies further ahead than this when its round has ended was reckoned by a clock that was wrong."""
_CRON_FIELDS = 5


class Start(Value, frozen=True):
    """The begin of a round in seconds of the schedule's clock: `planned` is the point of the grid, `at` that and its
    jitter. `left_out` points before it were missed.
    """

    planned: float
    at: float
    left_out: int = 0


class Schedule(Protocol):
    """What says when the next round begins. `written` is what the user wrote."""

    @property
    def written(self) -> str:
        """What the user wrote."""

    @property
    def uses_wall_clock(self) -> bool:
        """Whether its seconds are those of the epoch; else those of a monotonic clock."""

    def first(self, now: float) -> Start:
        """The first round."""

    def next_start(self, planned: float, now: float, chance: float) -> Start:
        """The round after the one that was planned for `planned` and has ended at `now`. `chance` is in [0, 1)."""


class IntervalSchedule(Value, frozen=True):
    """Every so many seconds of a monotonic clock, whatever is done to the time of day; the first round at once."""

    written: str
    every_s: float
    jitter_s: float = 0.0
    uses_wall_clock: bool = False

    def first(self, now: float) -> Start:
        """At once."""
        return Start(now, now)

    def next_start(self, planned: float, now: float, chance: float) -> Start:
        """See `Schedule`."""
        points = max(1, math.floor((now - planned) / self.every_s) + 1)
        begin = planned + points * self.every_s
        return Start(begin, begin + chance * self.jitter_s, points - 1)


class CronSchedule(Value, frozen=True):
    """At the times of a cron expression of five fields, in `zone`, with the rules of Debian's cron for the hours that
    the change to summer time leaves out and brings twice. The first round waits for its time, as all others do.
    """

    written: str
    zone: tzinfo = timezone.utc
    jitter_s: float = 0.0
    uses_wall_clock: bool = True

    def first(self, now: float) -> Start:
        """At the next time that the expression names."""
        begin = self._after(now)
        return Start(begin, begin)

    def next_start(self, planned: float, now: float, chance: float) -> Start:
        """See `Schedule`."""
        if planned > now + _CLOCK_SET_BACK_S:
            planned = now
        begin, left_out = self._after(planned), 0
        while begin <= now and left_out < MOST_LEFT_OUT:
            begin, left_out = self._after(begin), left_out + 1
        if begin <= now:
            begin = self._after(now)
        return Start(begin, begin + chance * self.jitter_s, left_out)

    def _after(self, seconds: float) -> float:
        at = datetime.fromtimestamp(seconds, self.zone)
        return next(CronSim(self.written, at)).timestamp()


def parse_schedule(text: str, *, zone: tzinfo = timezone.utc, jitter_s: float | None = None) -> Schedule:
    """A duration ("10m") or a cron expression ("*/10 * * * *"). `jitter_s` None: a tenth of an interval, a minute at
    most, and none for an expression. Raises ValueError with a sentence for people.
    """
    written = " ".join(text.split())
    if " " not in written:
        every_s = parse_duration(written)
        if not LEAST_EVERY_S <= every_s <= LONGEST_EVERY_S:
            raise ValueError(f"{text!r} is no interval of rounds: write a second or more, and a year at most")
        return IntervalSchedule(written, every_s, min(every_s / 10, 60.0) if jitter_s is None else jitter_s)
    if written.count(" ") != _CRON_FIELDS - 1:
        raise ValueError(f"{text!r} is no cron expression: write minute, hour, day of month, month and day of week")
    try:
        next(CronSim(written, datetime(2000, 1, 1, tzinfo=timezone.utc) - timedelta(seconds=1)))
    except (CronSimError, StopIteration) as error:
        what = str(error)[:1].lower() + str(error)[1:] or "it names a day that never comes"
        raise ValueError(f"{text!r} is no cron expression: {what}") from None
    return CronSchedule(written, zone, jitter_s or 0.0)
