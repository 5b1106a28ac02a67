"""For how long a run waits for a registry that refuses (429), before its refusals count as failed tries.

A registry that paces us answers 429 now and then, and waiting is all that it asks for. One that lets nothing through
any more, such as a quota of hours that is used up, is no better a minute later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import NotAskedError, RateLimitedError

if TYPE_CHECKING:
    from image_syncer.errors import SyncError

__all__ = ["Patience"]

_Matter = tuple[str, "str | None"]
"""A registry, and the operation that it refuses: some count reading manifests only, others only writing."""


class Patience:
    """Since when each operation at each registry is refused and never let through; times in seconds."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._since: dict[_Matter, float] = {}

    def __bool__(self) -> bool:
        return bool(self._since)

    def waits(self, registry: str, operation: str | None, now: float) -> bool:
        """The operation was refused; whether that is to be waited for, and is no failed try."""
        since = self._since.setdefault((registry, operation), now)
        return now - since < self._longest_s

    def is_try(self, error: SyncError, registry: str, now: float) -> bool:
        """Whether what `error` ended, at `registry`, counts as a try."""
        if isinstance(error, NotAskedError):
            return self.is_over(registry, now)
        return not (isinstance(error, RateLimitedError) and self.waits(registry, error.operation, now))

    def is_over(self, registry: str, now: float) -> bool:
        """Whether it refuses something for too long: then it is no use to wait for anything there."""
        return any(name == registry and now - since >= self._longest_s for (name, _), since in self._since.items())

    def went(self, registry: str, operation: str) -> None:
        """The operation was let through."""
        self._since.pop((registry, operation), None)

    def moved(self, *registries: str) -> None:
        """A blob went from one to the other: every operation that this takes was let through."""
        for matter in [matter for matter in self._since if matter[0] in registries]:
            del self._since[matter]
