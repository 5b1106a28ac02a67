"""WorkerContext: what all movers of a worker have in common. Times in seconds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.planning import RetryPolicy
from image_syncer.transfer import Resumption
from image_syncer.values import Value
from image_syncer.worker.fresh_repositories import FreshRepositories
from image_syncer.worker.habits import Habits

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.transfer import Signals

__all__ = ["WorkerContext"]


class WorkerContext(Value, frozen=True):
    """`signals` are libcurl's; see `SilenceWatch` for `stall_s` and `answer_s`, `LagWatch` for `lag_s`. `policy` says
    how often a side that broke may go on, `chance` gives a uniform number in [0, 1), `clock` seconds, `habits` are the
    registries', `fresh` their repositories that lack most blobs.
    """

    signals: Signals
    stall_s: float
    answer_s: float
    chance: Callable[[], float]
    clock: Callable[[], float]
    lag_s: float = math.inf
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    habits: Habits = field(default_factory=Habits)
    fresh: FreshRepositories = field(default_factory=FreshRepositories)

    def resumption(self) -> Resumption:
        """For one side of one blob's way."""
        return Resumption(self.policy, self.chance, self.clock)
