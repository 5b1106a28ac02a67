"""When rounds begin: at an interval, or at the times of a cron expression. Pure: clock and chance are arguments.

Rounds begin at points of a fixed grid: every ten minutes after the first one, or at the times of the expression. Points
that pass during a round are left out: rounds never overlap, and none is made up for.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from image_syncer.units import parse_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo


_LOCAL = Path("/etc/localtime")


def local_zone(environ: Mapping[str, str], local: Path = _LOCAL) -> tzinfo:
    """Return the zone of `TZ`, or else of the file; UTC if neither has one (most containers)."""
    name = environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with local.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return timezone.utc


LEAST_EVERY_S = 1.0
LONGEST_EVERY_S = 366 * 86400.0
MOST_LEFT_OUT = 1000
"""The highest number of left-out points that is counted."""
_CLOCK_SET_BACK_S = 86400.0
"""A point that is further ahead than this when its round has ended was computed from a wrong clock."""
_CRON_FIELDS = 5


class Start(Value, frozen=True):
    """The begin of a round by the clock of the schedule: `planned` is the point of the grid, `at` adds the jitter.
    `left_out` points before it were missed.
    """

    planned: float
    at: float
    left_out: int = 0


class IntervalSchedule(Value, frozen=True):
    """Every `every_s` seconds of a monotonic clock; the first round at once. `written` is what the user wrote."""

    written: str
    every_s: float
    jitter_s: float = 0.0
    uses_wall_clock: bool = False

    def first(self, now: float) -> Start:
        """Return a round now."""
        return Start(now, now)

    def next_start(self, planned: float, now: float, chance: float) -> Start:
        """Return the round after the one at `planned`, which has ended at `now`. `chance` is in [0, 1)."""
        points = max(1, math.floor((now - planned) / self.every_s) + 1)
        begin = planned + points * self.every_s
        return Start(begin, begin + chance * self.jitter_s, points - 1)


class CronSchedule(Value, frozen=True):
    """At the times of a cron expression of five fields, in `zone`, with the rules of Debian's cron for the change to
    summer time and back. The first round waits for its time too. Its clock is the time of day.
    """

    written: str
    zone: tzinfo = timezone.utc
    jitter_s: float = 0.0
    uses_wall_clock: bool = True

    def first(self, now: float) -> Start:
        """Return the round at the next time of the expression."""
        begin = self._after(now)
        return Start(begin, begin)

    def next_start(self, planned: float, now: float, chance: float) -> Start:
        """See `IntervalSchedule.next_start`."""
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


Schedule: TypeAlias = IntervalSchedule | CronSchedule


def parse_schedule(text: str, *, zone: tzinfo = timezone.utc, jitter_s: float | None = None) -> Schedule:
    """Parse a duration ("10m") or a cron expression ("*/10 * * * *"). The default jitter is a tenth of an interval, at
    most a minute, and none for an expression. Raises ValueError with a message for users.
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
