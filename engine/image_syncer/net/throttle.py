"""Registries that asked to be left alone for a while. A limiter returns the wait; only the shell sleeps."""

from __future__ import annotations

__all__ = ["Throttle"]

SHORTEST_PAUSE_S = 1.0
"""What a 429 without Retry-After asks for."""


class Throttle:
    """Until when each registry is left alone; times in seconds of the caller's clock."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def wait_s(self, registry: str, now: float) -> float:
        """How long to wait before the next request to `registry`; 0 where it may go out."""
        until = self._until.get(registry)
        return 0.0 if until is None else max(0.0, until - now)

    def longest(self, now: float) -> tuple[str, float] | None:
        """The registry that is left alone for longest from now, and for how many seconds; None where none is."""
        waits = ((until - now, registry) for registry, until in self._until.items() if until > now)
        longest = max(waits, default=None)
        return None if longest is None else (longest[1], longest[0])

    def pause(self, registry: str, seconds: float | None, now: float) -> float:
        """`registry` said "wait"; returns the pause that is in force for it from now, in seconds."""
        asked = max(SHORTEST_PAUSE_S, seconds or 0.0)
        self._until[registry] = max(self._until.get(registry, 0.0), now + asked)
        return self._until[registry] - now
