"""Rates by the time of day: how many bytes a second a run may move, and when.

As text, a schedule is the value of `--rate`: items with commas between them; the first that covers the moment counts.

    200MB/s
    mon-fri 08:00-18:00=50MB/s,500MB/s
    22:00-06:00=none,sat-sun=100MB/s,20MB/s

An item is a rate, or days and hours (either may be missing) with their rate. Hours that end before they begin extend
into the next day. A moment that no item covers has no limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.patterns import lazy_pattern
from image_syncer.units import parse_rate
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


_NOT_NOTHING = lazy_pattern(r"[1-9]")
LEAST_BYTES_PER_S = 1000
"""With less, a layer takes days: it is probably a mistake."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = (0, 6)
_UNITS = (("GB", 10**9), ("GiB", 2**30), ("MB", 10**6), ("MiB", 2**20), ("KB", 10**3), ("KiB", 2**10))
_DAY_MIN = 24 * 60
_TIME = lazy_pattern(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")
_ITEM = lazy_pattern(
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
        """Whether it covers every moment."""
        return (self.begin, self.end, self.days) == (0, _DAY_MIN, _EVERY_DAY)

    def covers(self, weekday: int, minute: int) -> bool:
        """Return whether it covers that minute of that day of the week."""
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
    """Windows, of which the first that covers the moment counts."""

    windows: tuple[RateWindow, ...]

    @classmethod
    def parse(cls, text: str) -> RateSchedule | None:
        """Parse the value of `--rate`; None where it means no limit. Raises ValueError with a sentence."""
        return cls.of([_parse_item(item.strip()) for item in text.split(",")])

    @classmethod
    def of(cls, windows: Sequence[RateWindow]) -> RateSchedule | None:
        """Return the schedule of `windows`, None where none limits. Raises ValueError where one can never count."""
        for at, window in enumerate(windows[:-1]):
            if window.is_always:
                raise ValueError(f"what comes after {str(windows[at])!r} never counts, because that is for any time")
        return cls(tuple(windows)) if any(window.bytes_per_s is not None for window in windows) else None

    def rate_at(self, local: datetime) -> float | None:
        """Return the bytes per second at that local time; None: no limit."""
        weekday, minute = local.weekday(), local.hour * 60 + local.minute
        for window in self.windows:
            if window.covers(weekday, minute):
                return window.bytes_per_s
        return None

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return ",".join(map(str, self.windows))


def _parse_limit(text: str) -> float | None:
    """Return the bytes per second of "200MB/s", None of "none" and "0". Raises ValueError with a sentence."""
    if text.strip().lower() == "none":
        return None
    rate = parse_rate(text)
    if 0 < rate < LEAST_BYTES_PER_S or (not rate and _NOT_NOTHING.search(text)):
        raise ValueError(f"{text!r} is too slow: the least is {LEAST_BYTES_PER_S} bytes a second, and none is no limit")
    return rate or None


def _parse_time(text: str) -> int:
    """Return the minute of the day of "08:00"; "24:00" is its end. Raises ValueError with a sentence."""
    match = _TIME.fullmatch(text.strip())
    minute = int(match[1]) * 60 + int(match[2]) if match else _DAY_MIN + 1
    if minute > _DAY_MIN:
        raise ValueError(f"{text!r} is not a time of day: write 08:00")
    return minute


def _parse_days(text: str) -> tuple[int, int]:
    """Return the first and the last day (Monday is 0) of "mon-fri" or "sun". Raises ValueError with a sentence."""
    first, dash, last = text.strip().lower().partition("-")
    if first not in _DAYS or (dash and last not in _DAYS):
        raise ValueError(f"{text!r} is not a range of days: write mon-fri, or sun")
    days = (_DAYS.index(first), _DAYS.index(last if dash else first))
    return _EVERY_DAY if days[0] == (days[1] + 1) % len(_DAYS) else days


def build_window(rate: str, begin: str = "", end: str = "", days: str = "") -> RateWindow:
    """Return a window from the texts of its parts; only the rate is required. Raises ValueError with a sentence."""
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
    """Format a rate in the largest unit in which it is a whole number."""
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
