"""How long a registry asks to be left alone: `Retry-After` (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import re
from calendar import timegm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.registry.message import Headers

__all__ = ["MAX_RETRY_AFTER_S", "parse_http_date", "retry_after_s"]

MAX_RETRY_AFTER_S = 6 * 3600.0
"""Docker Hub's window, the longest known. More is a broken or hostile answer."""

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_YEAR = r"(?P<year>[0-9]{4}|[0-9]{2})"
_DATES = (
    # Sun, 06 Nov 1994 08:49:37 GMT, and the obsolete Sunday, 06-Nov-94 08:49:37 GMT
    rf"[a-z]+,\s*(?P<day>[0-9]{{1,2}})[ -](?P<month>[a-z]{{3}})[ -]{_YEAR}\s+{_TIME}\s+(?:gmt|utc)",
    # the obsolete Sun Nov  6 08:49:37 1994
    rf"[a-z]{{3}}\s+(?P<month>[a-z]{{3}})\s+(?P<day>[0-9]{{1,2}})\s+{_TIME}\s+(?P<year>[0-9]{{4}})",
)
_EPOCH_YEAR = 1970


def retry_after_s(headers: Headers, now_epoch_s: float | None) -> float | None:
    """Seconds to wait by `Retry-After`, given in seconds or as a date; None where it is missing or makes no
    sense.

    A date counts from the registry's own `Date` where that is sent, so that a clock that is wrong on one side
    does no harm, else from `now_epoch_s`, where that is known. Between 0 and `MAX_RETRY_AFTER_S`.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    until = parse_http_date(text)
    if until is None:
        return None
    said_at = parse_http_date(headers.get("Date", "").strip())
    now = now_epoch_s if said_at is None else said_at
    return None if now is None else min(max(0.0, until - now), MAX_RETRY_AFTER_S)


def parse_http_date(text: str) -> float | None:
    """Seconds since 1970 of a date in one of HTTP's three forms (RFC 9110, section 5.6.7), None for anything
    else.
    """
    for pattern in _DATES:
        match = re.fullmatch(pattern, text, re.IGNORECASE)
        if match is not None and match["month"].lower() in _MONTHS:
            month = _MONTHS.index(match["month"].lower()) + 1
            year = int(match["year"])
            if len(match["year"]) == len("94"):
                year += 1900 if year >= _EPOCH_YEAR % 100 else 2000
            parts = (int(match[name]) for name in ("day", "hour", "minute", "second"))
            return float(timegm((year, month, *parts))) if year >= _EPOCH_YEAR else None
    return None
