"""When an image was created, as its configuration says (OCI image specification 1.1, "Image Configuration", `created`),
or the newest entry of the history that a schema 1 manifest has.
"""

from __future__ import annotations

import re
from datetime import datetime

import orjson

__all__ = ["created_of_config", "created_of_schema1", "parse_time"]

_TIME = re.compile(
    r"(?P<seconds>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>[Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_time(text: str) -> float | None:
    """Seconds since 1970 of a time as RFC 3339 (section 5.6) writes it; None where it is none.

    >>> parse_time("2024-01-02T03:04:05.123456789Z")
    1704164645.123457
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    fraction, zone = (match["fraction"] or ".0")[:7].ljust(7, "0"), match["zone"].upper()
    try:
        moment = datetime.fromisoformat(f"{match['seconds'].upper()}{fraction}{'+00:00' if zone == 'Z' else zone}")
    except ValueError:
        return None
    return moment.timestamp()


def created_of_config(raw: bytes) -> float | None:
    """What an image's configuration says, in seconds since 1970; None where it does not, or is something else."""
    try:
        configuration = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    created = configuration.get("created") if isinstance(configuration, dict) else None
    return parse_time(created) if isinstance(created, str) else None


def created_of_schema1(raw: bytes) -> float | None:
    """What the newest entry of a schema 1 manifest's history says; None where it does not."""
    try:
        return created_of_config(orjson.loads(raw)["history"][0]["v1Compatibility"].encode())
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None
