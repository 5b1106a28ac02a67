"""The keys of a registry's entry that say how much may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config.entry_fields import EntryFields

__all__ = ["LIMIT_KEYS", "NO_LIMITS", "Limits", "merge_limits", "read_limits"]

LIMIT_KEYS = ("requests_per_s",)

LEAST_REQUESTS_PER_S = 0.1
"""With less, one image takes minutes: it is meant for a mistake."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows at one registry: `requests_per_s` at most; None: no bound but what it refuses."""

    requests_per_s: float | None = None


NO_LIMITS = Limits()


def read_limits(entry: EntryFields) -> Limits:
    """What the entry allows."""
    return Limits(requests_per_s=entry.number("requests_per_s", least=LEAST_REQUESTS_PER_S))


def merge_limits(limits: Sequence[Limits]) -> Limits:
    """The limits of a host out of those of all its entries: the smallest rate of requests."""
    return Limits(
        requests_per_s=min((n for one in limits if (n := one.requests_per_s) is not None), default=None),
    )
