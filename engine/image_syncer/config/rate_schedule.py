"""How many bytes a second may be moved, and when: one rate, or several by the time of day. Pure: the time comes in.

As text it is what `--rate` takes: items with commas between them, of which the first that covers the moment counts.

    200MB/s
    mon-fri 08:00-18:00=50MB/s,500MB/s
    22:00-06:00=none,sat-sun=100MB/s,20MB/s

An item is a rate, or days and hours (either may be left out) with their rate. Hours that end before they begin go on
into the next day. At a moment that no item covers there is no limit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.units import parse_rate
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["RateSchedule", "RateWindow", "build_window"]

_NOT_NOTHING = re.compile(r"[1-9]")
LEAST_BYTES_PER_S = 1000
"""With less, a layer takes days: it is meant for a mistake."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = (0, 6)
_UNITS = (("GB", 10**9), ("GiB", 2**30), ("MB", 10**6), ("MiB", 2**20), ("KB", 10**3), ("KiB", 2**10))
_DAY_MIN = 24 * 60
_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")
_ITEM = re.compile(
    r"(?:(?P<days>[a-zA-Z][a-zA-Z-]*)(?:\s+|(?==)))?(?:(?P<begin>[0-9:]+)\s*-\s*(?P<end>[0-9:]+)\s*)?=(?P<rate>.*)"
)


class RateWindow(Value, frozen=True):
    """A rate (None: no limit) on `days` (first and last, Monday is 0) from minute `begin` of the day until `end`."""

    bytes_per_s: float | None
    begin: int = 0
    end: int = _DAY_MIN
    days: tuple[int, int] = _EVERY_DAY

    @property
    def is_always(self) -> bool:
        """Whether no moment is outside of it."""
        return (self.begin, self.end, self.days) == (0, _DAY_MIN, _EVERY_DAY)

    def covers(self, weekday: int, minute: int) -> bool:
        """Whether it holds at that minute of that day of the week."""
        if self.begin < self.end:
            return self._has(weekday) and self.begin <= minute < self.end
        if minute >= self.begin:
            return self._has(weekday)
        return minute < self.end and self._has((weekday - 1) % 7)  # it began the day before

    def _has(self, weekday: int) -> bool:
        first, last = self.days
        return first <= weekday <= last if first <= last else weekday >= first or weekday <= last

    def __str__(self) -> str:
        rate = "none" if self.bytes_per_s is None else _exactly(self.bytes_per_s)
        when = []
        if self.days != _EVERY_DAY:
            first, last = self.days
            when.append(_DAYS[first] if first == last else f"{_DAYS[first]}-{_DAYS[last]}")
        if (self.begin, self.end) != (0, _DAY_MIN):
            when.append(f"{self.begin // 60:02}:{self.begin % 60:02}-{self.end // 60:02}:{self.end % 60:02}")
        return f"{' '.join(when)}={rate}" if when else rate


class RateSchedule(Value, frozen=True):
    """The windows in the order in which they count."""

    windows: tuple[RateWindow, ...]

    @classmethod
    def parse(cls, text: str) -> RateSchedule | None:
        """From what `--rate` takes; None where it says that there is no limit. Raises ValueError with a sentence."""
        return cls.of([_parse_item(item.strip()) for item in text.split(",")])

    @classmethod
    def of(cls, windows: Sequence[RateWindow]) -> RateSchedule | None:
        """From `windows`; None where none of them limits anything. Raises ValueError where one can never count."""
        for at, window in enumerate(windows[:-1]):
            if window.is_always:
                raise ValueError(f"what comes after {str(windows[at])!r} never counts, because that is for any time")
        return cls(tuple(windows)) if any(window.bytes_per_s is not None for window in windows) else None

    def rate_at(self, local: datetime) -> float | None:
        """Bytes a second at that local time; None: no limit."""
        weekday, minute = local.weekday(), local.hour * 60 + local.minute
        for window in self.windows:
            if window.covers(weekday, minute):
                return window.bytes_per_s
        return None

    def __str__(self) -> str:
        """What `parse` reads."""
        return ",".join(map(str, self.windows))


def _parse_limit(text: str) -> float | None:
    """Bytes a second from "200MB/s"; None from "none" and "0". Raises ValueError with a sentence for people."""
    if text.strip().lower() == "none":
        return None
    rate = parse_rate(text)
    if 0 < rate < LEAST_BYTES_PER_S or (not rate and _NOT_NOTHING.search(text)):
        raise ValueError(f"{text!r} is too slow: the least is {LEAST_BYTES_PER_S} bytes a second, and none is no limit")
    return rate or None


def _parse_time(text: str) -> int:
    """The minute of the day from "08:00"; "24:00" is its end. Raises ValueError with a sentence for people."""
    match = _TIME.fullmatch(text.strip())
    minute = int(match[1]) * 60 + int(match[2]) if match else _DAY_MIN + 1
    if minute > _DAY_MIN:
        raise ValueError(f"{text!r} is not a time of day: write 08:00")
    return minute


def _parse_days(text: str) -> tuple[int, int]:
    """The first and the last day (Monday is 0) from "mon-fri" or "sun". Raises ValueError with a sentence."""
    first, dash, last = text.strip().lower().partition("-")
    if first not in _DAYS or (dash and last not in _DAYS):
        raise ValueError(f"{text!r} is not a range of days: write mon-fri, or sun")
    days = (_DAYS.index(first), _DAYS.index(last if dash else first))
    return _EVERY_DAY if days[0] == (days[1] + 1) % len(_DAYS) else days


def build_window(rate: str, begin: str = "", end: str = "", days: str = "") -> RateWindow:
    """A window from the texts of its parts, of which only the rate is needed. Raises ValueError with a sentence."""
    if bool(begin) != bool(end):
        raise ValueError("hours have a beginning and an end: write both")
    window = RateWindow(
        _parse_limit(rate),
        _parse_time(begin) if begin else 0,
        _parse_time(end) if end else _DAY_MIN,
        _parse_days(days) if days else _EVERY_DAY,
    )
    if window.begin % _DAY_MIN == window.end % _DAY_MIN and (window.begin, window.end) != (0, _DAY_MIN):
        raise ValueError(f"{begin}-{end} is no time: leave the hours out where all are meant")
    return window


def _exactly(bytes_per_s: float) -> str:
    """In the largest unit in which it is a whole number."""
    for name, factor in _UNITS:
        if bytes_per_s % factor == 0:
            return f"{bytes_per_s // factor:.0f}{name}/s"
    return f"{bytes_per_s:.0f}B/s"


def _parse_item(item: str) -> RateWindow:
    if "=" not in item:
        return build_window(item)
    match = _ITEM.fullmatch(item)
    if match is None or not (match["days"] or match["begin"]):
        raise ValueError(f"{item!r} is not a rate with its time: write mon-fri 08:00-18:00=50MB/s")
    return build_window(match["rate"], match["begin"] or "", match["end"] or "", match["days"] or "")
