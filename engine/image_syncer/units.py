"""Sizes, rates and durations: parsers for what people write, and formats for what they read.

Sizes are bytes (int), rates bytes a second (float), durations seconds (float).
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from image_syncer.patterns import lazy_pattern

__all__ = [
    "LEAST_S",
    "format_count",
    "format_duration",
    "format_moment",
    "format_rate",
    "format_size",
    "mean_rate",
    "parse_duration",
    "parse_rate",
    "parse_size",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LEAST_S = 1e-9
"""A shorter time counts as none: no clock measures it, and a division by it may be infinite."""

_SIZE = lazy_pattern(r"\s*(?P<whole>[0-9]{1,18})(?P<part>\.[0-9]{1,18})?\s*(?P<unit>[a-zA-Z]*)\s*")
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": 2**10,
    "kib": 2**10,
    "kb": 10**3,
    "m": 2**20,
    "mib": 2**20,
    "mb": 10**6,
    "g": 2**30,
    "gib": 2**30,
    "gb": 10**9,
    "t": 2**40,
    "tib": 2**40,
    "tb": 10**12,
}
_RATE = lazy_pattern(r"(?P<size>.*?)(?:/s)?\s*")
_BITS = lazy_pattern(r"\s*(?P<number>[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?P<unit>[a-z]*?)(?:bit|bps)")
_BIT_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_DURATION_PART = lazy_pattern(r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,18})?)(?P<unit>ms|s|m|h|d)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BINARY_STEP = 1024
_WHOLE_FROM = 100
_MOST_BYTES = 2**63 - 1
"""The maximum of libcurl (`curl_off_t`) and of JSON of other processes."""


def parse_size(text: str) -> int:
    """Return the bytes of "64KiB", "16MiB", "1.5GB" or a bare number.

    Units: B, KiB/MiB/GiB/TiB and K/M/G/T (powers of 1024), KB/MB/GB/TB (powers of 1000); case does not matter.
    Raises ValueError with a sentence for people.
    """
    match = _SIZE.fullmatch(text)
    factor = _SIZE_UNITS.get(match["unit"].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size: write a number with a unit, such as 512KiB, 16MiB or 2GiB")
    size = int(match["whole"]) * factor + int(float(match["part"] or 0) * factor)
    if size > _MOST_BYTES:
        raise ValueError(f"{text!r} is more than any size can be")
    return size


def parse_rate(text: str) -> float:
    """Return the bytes per second of "200MB/s", "1.5GiB/s", "1Gbit/s" or "100Mbps"; "/s" may be omitted.

    Raises ValueError with a sentence for people.

    >>> parse_rate("1Gbit/s")
    125000000.0
    """
    match = _RATE.fullmatch(text)
    size = match["size"] if match else ""
    bits = _BITS.fullmatch(size.lower())
    if bits is not None and bits["unit"] in _BIT_UNITS:
        return float(bits["number"]) * _BIT_UNITS[bits["unit"]] / 8
    try:
        return float(parse_size(size))
    except ValueError:
        raise ValueError(
            f"{text!r} is not a rate: write a number with a unit, such as 200MB/s, 50MiB/s or 1Gbit/s"
        ) from None


def format_size(size_bytes: float) -> str:
    """Format bytes for people: "0 B", "640 KiB", "1.5 GiB".

    >>> format_size(1536)
    '1.5 KiB'
    """
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < _BINARY_STEP or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= _WHOLE_FROM else f"{value:.1f} {unit}"
        value /= _BINARY_STEP
    raise AssertionError("unreachable")


def format_count(count: int, noun: str) -> str:
    """The count with its noun: "1 image", "1,234 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def mean_rate(size_bytes: float, seconds: float) -> float:
    """Return bytes per second; 0 where it took no time at all.

    >>> mean_rate(100, 4), mean_rate(100, 0)
    (25.0, 0.0)
    """
    return size_bytes / seconds if seconds >= LEAST_S else 0.0


def format_rate(bytes_per_s: float) -> str:
    """Format a rate for people: "120 MiB/s"."""
    return f"{format_size(bytes_per_s)}/s"


def parse_duration(text: str) -> float:
    """Return the seconds of "1.5s", "500ms", "2m", "1h30m" or a bare number.

    Raises ValueError with a sentence for people.
    """
    stripped = text.strip()
    try:
        seconds = float(stripped)
    except ValueError:
        parts = list(_DURATION_PART.finditer(stripped))
        if not parts or "".join(part.group() for part in parts) != stripped:
            raise ValueError(f"{text!r} is not a duration: write for example 30s, 5m or 1h30m") from None
        seconds = sum(float(part["number"]) * _DURATION_UNITS[part["unit"]] for part in parts)
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{text!r} is not a duration: it must not be negative or endless")
    return seconds


def format_moment(seconds: float) -> str:
    """Format a moment, in seconds since 1970, for people: "2026-01-31 12:00:00 UTC"."""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S} UTC"


def format_duration(seconds: float) -> str:
    """Format a duration for people: "0.4 s", "42 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:  # noqa: PLR2004 - below it a tenth of a second is worth reading
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{whole} s"
