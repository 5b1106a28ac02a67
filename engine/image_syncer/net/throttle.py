"""Registries that are not to be asked at any time: those that asked to be left alone, and those that are paced.

Neither costs a request to any other registry more than a look into a set.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from image_syncer.errors import NotAskedError
from image_syncer.units import format_duration

if TYPE_CHECKING:
    from image_syncer.registry import Allowance

__all__ = ["RequestLimiter", "Throttle"]

SHORTEST_PAUSE_S = 1.0
"""What a registry asks for that does not say how long, or for less."""


class RequestLimiter(Protocol):
    """Where a process gets its turns from, at registries that are paced (`planning/pacing.py`).

    Each has a bucket, which goes by its name; operations with a limit of their own have one more (`Limit.bucket`).
    """

    async def take(self, registry: str) -> None:
        """Wait for a turn; returns without one where the registry is to be left alone for long."""

    def refused(self, registry: str, retry_after_s: float | None) -> None:
        """The registry answered 429: it is paced from now on, and left alone for as long as it asked."""

    def published(self, bucket: str, per_s: float) -> None:
        """The registry is known to allow so many requests a second of a kind: they are paced from now on."""

    def told(self, registry: str, allowance: Allowance) -> None:
        """The registry said in an answer how much it allows."""


class Throttle:
    """Until when each registry is left alone, and which are paced; times in seconds of the caller's clock.

    `turns` is where turns come from; without it, no registry is paced.
    """

    def __init__(self, turns: RequestLimiter | None = None) -> None:
        self.turns = turns
        self.watched: set[str] = set()
        """Registries that cannot be asked without `wait_for_turn`; all others can."""
        self._until: dict[str, float] = {}
        self._paced: set[str] = set()
        self._waiting: Counter[str] = Counter()

    def wait_s(self, registry: str, now: float) -> float:
        """How long `registry` is left alone yet; 0 where it is not."""
        until = self._until.get(registry)
        return 0.0 if until is None else max(0.0, until - now)

    def longest(self, now: float) -> tuple[str, float] | None:
        """The registry that is left alone for longest from now, and for how many seconds; None where none is."""
        waits = ((until - now, registry) for registry, until in self._until.items() if until > now)
        longest = max(waits, default=None)
        return None if longest is None else (longest[1], longest[0])

    def pause(self, registry: str, seconds: float | None, now: float) -> float:
        """`registry` said "wait"; returns the pause that is in force for it from now, in seconds."""
        return self.hold(registry, max(SHORTEST_PAUSE_S, seconds or 0.0), now)

    def hold(self, registry: str, seconds: float, now: float) -> float:
        """The same for exactly so long."""
        self._until[registry] = max(self._until.get(registry, 0.0), now + seconds)
        self.watched.add(registry)
        return self._until[registry] - now

    def pace(self, registry: str, *, paced: bool = True) -> None:
        """From now on each request to `registry` takes a turn; or none does any more."""
        if paced:
            self._paced.add(registry)
            self.watched.add(registry)
        else:
            self._paced.discard(registry)

    def waits_within(self, registry: str) -> bool:
        """Whether a request waits for its turn in a bucket that `registry` has for some of its operations."""
        return any(count and bucket.startswith(f"{registry} ") for bucket, count in self._waiting.items())

    async def wait_for_turn(self, registry: str, longest_wait_s: float) -> None:
        """Sleep while `registry` has asked to be left alone, then wait for a turn where it is paced.

        Raises NotAskedError where it is to be left alone for longer than `longest_wait_s`: each request would only be
        refused again.
        """
        self._waiting[registry] += 1
        try:
            await self._until_turn(registry, longest_wait_s)
        finally:
            self._waiting[registry] -= 1

    async def _until_turn(self, registry: str, longest_wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        while registry in self.watched:
            if wait := self.wait_s(registry, loop.time()):
                if wait > longest_wait_s:
                    raise NotAskedError(
                        f"the registry {registry} asked to be left alone for {format_duration(wait)}",
                        hint="Run it again then, or ask the registry for a higher limit.",
                        retry_after_s=wait,
                    )
                await asyncio.sleep(wait)  # what is in force may be prolonged meanwhile
            elif self.turns is None or registry not in self._paced:
                self.watched.discard(registry)
            else:
                await self.turns.take(registry)
                if not self.wait_s(registry, loop.time()):
                    return
