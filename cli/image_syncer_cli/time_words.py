"""Times that are estimates, in words that do not pretend to know more than they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer import Snapshot

__all__ = ["about", "left_words", "span"]

_NARROW = 1.2
"""A span whose end is no further from its begin than this is told as one number."""
_SOON_S = 5.0
_UNITS = (
    (90.0, 1.0, 5.0, "s"),
    (20 * 60.0, 60.0, 1.0, "min"),
    (90 * 60.0, 60.0, 5.0, "min"),
    (48 * 3600.0, 3600.0, 0.5, "h"),
    (float("inf"), 86400.0, 0.5, "days"),
)
"""Below so many seconds: the seconds of a unit, to what part of it is rounded, its name."""


def about(seconds: float) -> str:
    """One number: "about 12 min", "a few seconds".

    >>> about(47), about(700), about(9000)
    ('about 45 s', 'about 12 min', 'about 2.5 h')
    """
    if seconds < _SOON_S:
        return "a few seconds"
    number, unit = _rounded(seconds, seconds)
    return f"about {number} {unit}"


def span(seconds: float, least_s: float, most_s: float) -> str:
    """From and to, where they are apart: "10-14 min", else `about`.

    >>> span(700, 600, 840)
    '10-14 min'
    """
    if most_s < 2 * _SOON_S or most_s <= _NARROW * least_s:
        return about(seconds)
    least, unit = _rounded(least_s, most_s)
    most, _ = _rounded(most_s, most_s)
    return f"about {most} {unit}" if least == most else f"{least}-{most} {unit}"


def left_words(snapshot: Snapshot) -> str | None:
    """How long the rest takes, for people; None where nothing is to be said of it."""
    seconds, least_s, most_s = snapshot.eta_s, snapshot.eta_least_s, snapshot.eta_most_s
    if seconds is None or snapshot.images_done >= snapshot.images_total > 0:
        return None
    words = about(seconds) if least_s is None or most_s is None else span(seconds, least_s, most_s)
    if snapshot.listing:
        words = f"at least {words.removeprefix('about ')}"
    return f"{words} left"


def _rounded(seconds: float, largest_s: float) -> tuple[str, str]:
    """In the unit that fits `largest_s`."""
    _, unit_s, step, unit = next(one for one in _UNITS if largest_s < one[0])
    number = round(seconds / unit_s / step) * step
    return f"{max(number, step if seconds > 0 else 0):g}", unit
