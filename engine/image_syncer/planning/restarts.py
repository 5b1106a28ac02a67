"""Restarts: how many workers may be replaced, as a rate: a run of days survives one that dies every hour."""

from __future__ import annotations

from collections import deque

__all__ = ["RestartBudget"]


class RestartBudget:
    """At most `most` restarts within any `within_s` seconds; times in seconds of the caller's clock."""

    def __init__(self, most: int, within_s: float) -> None:
        self._most = most
        self._within_s = within_s
        self._taken: deque[float] = deque()

    def try_take(self, now: float) -> bool:
        """Whether one more is allowed: then it is counted."""
        while self._taken and now - self._taken[0] >= self._within_s:
            self._taken.popleft()
        if len(self._taken) >= self._most:
            return False
        self._taken.append(now)
        return True

    def forgive(self, count: int) -> None:
        """So many of the latest are not counted: their cause is found, and will cause no more."""
        for _ in range(min(count, len(self._taken))):
            self._taken.pop()
