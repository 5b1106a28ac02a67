"""Resumption: how often one side of a blob's way may break and go on. Pure: chance and time come in from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.planning import Tries

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.errors import SyncError
    from image_syncer.planning import RetryPolicy

__all__ = ["Resumption"]

MOST_PROGRESS_BYTES = 64 * 1024
PROGRESS_PART = 32
"""So much of a blob, or `MOST_PROGRESS_BYTES`, is progress: whoever gets less out of a connection comes to no end."""


class Resumption:
    """Counts the breaks of one side since it last came forward: only these use up the tries and the time of `policy`.

    `chance` gives a uniform number in [0, 1), `clock` seconds. Sizes in bytes.
    """

    def __init__(self, policy: RetryPolicy, chance: Callable[[], float], clock: Callable[[], float]) -> None:
        self._policy = policy
        self._chance = chance
        self._clock = clock
        self._tries: Tries | None = None
        self._furthest = 0

    def came_to(self, position: int, size: int) -> None:
        """The side has the first `position` of `size` bytes for good."""
        if position - self._furthest >= max(1, min(MOST_PROGRESS_BYTES, size // PROGRESS_PART)):
            self._furthest = position
            self._tries = None

    def pause_s(self, error: SyncError) -> float | None:
        """It broke with `error`: seconds until it may go on; None where it is given up, and `error` has its tries."""
        now = self._clock()
        tries = self._tries or Tries(now)
        pause = self._policy.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
        self._tries = tries.plus(error, now, pause)
        if pause is None:
            self._tries.write_on(error)
        return pause
