"""The time zone of this machine, with its rules for summer time: cron expressions mean its time of day."""

from __future__ import annotations

from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

__all__ = ["local_zone"]

_LOCAL = Path("/etc/localtime")


def local_zone(environ: Mapping[str, str], local: Path = _LOCAL) -> tzinfo:
    """`TZ`, where it names a zone, else that of the file; UTC where neither says (most containers)."""
    name = environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with local.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return timezone.utc
