"""WorkerContext: what all copies of a worker share. Times in seconds.

Which repositories will probably lack the next blob.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.planning import Arrival, RetryPolicy
from image_syncer.registry.capabilities import RegistryCapabilities
from image_syncer.transfer import Resumption
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Repository
    from image_syncer.transfer import Signals
    from image_syncer.worker.messages import TargetPlace

__all__ = ["FreshRepositories", "WorkerContext"]


class FreshRepositories:
    """Which destination repositories had not the last blob that was brought to them: they will lack the next one too.

    The first blob of a repository is asked for before it is fetched, and so is one that could be mounted, but for those
    that the registry has said are absent.
    """

    def __init__(self) -> None:
        self._fresh: set[Repository] = set()

    def expect(self, targets: tuple[TargetPlace, ...]) -> bool:
        """Whether a blob for these targets will probably have to be sent to one of them."""
        return any(one.absent or (one.repository in self._fresh and not one.mounts) for one in targets)

    def learn(self, target: TargetPlace, arrival: Arrival | None) -> None:
        """What became of a blob on its way to `target`."""
        if arrival is Arrival.MOVED:
            self._fresh.add(target.repository)
        elif arrival is not None:
            self._fresh.discard(target.repository)


class WorkerContext(Value, frozen=True):
    """`signals` are libcurl's; see `SilenceWatch` for `stall_s` and `answer_s`, `LagWatch` for `lag_s`. `policy` says
    how often a side that broke may go on, `chance` gives a uniform number in [0, 1), `clock` seconds. `capabilities`
    are those of the registries, `fresh` their repositories that lack most blobs.
    """

    signals: Signals
    stall_s: float
    answer_s: float
    chance: Callable[[], float]
    clock: Callable[[], float]
    lag_s: float = math.inf
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    capabilities: RegistryCapabilities = field(default_factory=RegistryCapabilities)
    fresh: FreshRepositories = field(default_factory=FreshRepositories)

    def resumption(self) -> Resumption:
        """For one side of one blob's way."""
        return Resumption(self.policy, self.chance, self.clock)
