"""What is tried again later: blobs that failed, and when it is their turn again."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from image_syncer.errors import Origin
from image_syncer.planning.patience import Patience
from image_syncer.planning.retry import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer.errors import SyncError
    from image_syncer.planning.blob_set import Target
    from image_syncer.planning.retry import RetryPolicy

__all__ = ["Later"]


class Later:
    """Targets that wait for time, the next first. `chance` gives a uniform number in [0, 1) for each pause."""

    def __init__(self, retry: RetryPolicy, chance: Callable[[], float]) -> None:
        self._retry = retry
        self.patience = Patience(retry.patience_s)
        self._chance = chance
        self._waiting: list[tuple[float, int, Target]] = []
        self._serials = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def wake_at(self) -> float | None:
        """When the next is due; None: nothing waits for time."""
        return self._waiting[0][0] if self._waiting else None

    def note(self, target: Target, error: SyncError, now: float) -> float | None:
        """`target` failed: the pause before it is tried again, or None where it is not; `error` tells its history."""
        tries = target.tries or Tries(now)
        place = target.source if error.origin is Origin.SOURCE else target.repository
        counts = self.patience.is_try(error, place.registry, now)
        pause = self._retry.pause_s(error, tries.made + counts, self._chance(), tries.spent_s(now))
        target.tries = tries.plus(error, now, pause, counts=counts)
        if pause is None:
            target.tries.write_on(error)
        return pause

    def put(self, target: Target, at: float) -> None:
        """`target` waits until then."""
        heapq.heappush(self._waiting, (at, next(self._serials), target))

    def take_due(self, now: float) -> Iterator[Target]:
        """Those whose turn it is, one after the other; they wait no more."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]
