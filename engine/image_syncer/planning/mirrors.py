"""Mirrors of a source registry: which of them are left alone for now, and what came from each. Pure: time comes in as
an argument, in seconds.

A mirror is tried once for each manifest and each blob, and whatever goes wrong there, the next mirror is asked, and the
registry itself at last: so no mirror needs retries, a breaker, or the patience that a registry has. One that has not
what was wanted is asked for the next thing as before. One that fails otherwise is left alone for a minute, and twice as
long each time that it fails again; one that gave wrong bytes is asked no more.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, NotFoundError, RegistryError

if TYPE_CHECKING:
    from image_syncer.errors import SyncError

__all__ = ["Mirrors"]

FIRST_REST_S, LONGEST_REST_S = 60.0, 900.0


class Mirrors:
    """The mirrors as one process knows them, by the name of their registry."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._strikes: Counter[str] = Counter()
        self._came: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    def is_usable(self, registry: str, now: float) -> bool:
        """Whether it may be asked."""
        return now >= self._until.get(registry, -inf)

    def failed(self, registry: str, error: SyncError, now: float) -> None:
        """It could not give what was wanted."""
        self._failed[registry] += 1
        if isinstance(error, IntegrityError):
            self._until[registry] = inf
        elif not isinstance(error, NotFoundError) and self.is_usable(registry, now):
            rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(self._strikes[registry], 8))
            self._strikes[registry] += 1
            asked_s = error.retry_after_s if isinstance(error, RegistryError) else None
            self._until[registry] = now + max(rest_s, asked_s or 0.0)

    def came(self, registry: str, size: int) -> None:
        """So many bytes came from it, of a manifest or a blob."""
        self._came[registry] += size
        self._strikes.pop(registry, None)

    def take_counts(self) -> dict[str, list[int]]:
        """By registry, the bytes that came and the failures, since this was asked last."""
        came, self._came = self._came, Counter()
        failed, self._failed = self._failed, Counter()
        return {registry: [came[registry], failed[registry]] for registry in {**came, **failed}}
