"""Pace: how much of something is done in a second in which it is worked on, with what is long past forgotten."""

from __future__ import annotations

import math

__all__ = ["Pace"]

LEAST_BUSY_S = 1.0
"""Of less work than this nothing is said."""


class Pace:
    """Takes steps: so much was done in so many seconds of work. Seconds in which nobody worked on it count for nothing,
    so that what has to wait for something else does not look slow.

    >>> pace = Pace()
    >>> for _ in range(10):
    ...     pace.note(done=50, busy_s=0.5, memory_s=10)
    >>> pace.per_s
    100.0
    """

    __slots__ = ("_busy_s", "_done")

    def __init__(self) -> None:
        self._done = 0.0
        self._busy_s = 0.0

    def note(self, done: float, busy_s: float, memory_s: float) -> None:
        """So much was `done` in `busy_s` of work; what is longer ago than `memory_s` of work counts little. What was
        done may be less than nothing, where something is tried anew.
        """
        if busy_s <= 0 and done <= 0:
            return
        kept = math.exp(-busy_s / memory_s)
        self._done = max(0.0, self._done * kept + done)
        self._busy_s = self._busy_s * kept + busy_s

    def shorten(self, busy_s: float) -> None:
        """Circumstances have changed: what was counts as no more than `busy_s` of work."""
        if self._busy_s > busy_s:
            self._done *= busy_s / self._busy_s
            self._busy_s = busy_s

    @property
    def per_s(self) -> float | None:
        """None where too little is known, or nothing was done."""
        return self._done / self._busy_s if self._busy_s >= LEAST_BUSY_S and self._done > 0 else None
