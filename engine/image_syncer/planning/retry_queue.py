"""What is tried again later: blobs that failed, and when it is their turn again, or what is waited for.

For how long a run waits for a registry that refuses (429), before its refusals count as failed tries.

A registry that paces us answers 429 now and then, and waiting is all that it asks for. One that lets nothing through
any more, such as a quota of hours that is used up, is no better a minute later.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from image_syncer.errors import NotAskedError, RateLimitedError
from image_syncer.planning.breaker import BreakerState, fault_of
from image_syncer.planning.retry import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer.errors import SyncError
    from image_syncer.planning.blob_set import Target
    from image_syncer.planning.breaker import Breaker, Breakers
    from image_syncer.planning.retry import RetryPolicy

__all__ = ["Patience", "RetryQueue"]


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


class RetryQueue:
    """Targets that wait for time, the next first, or until it is known whether a registry is down. `chance` gives a
    uniform number in [0, 1) for each pause.
    """

    def __init__(self, retry: RetryPolicy, chance: Callable[[], float], breakers: Breakers) -> None:
        self._retry = retry
        self.patience = Patience(retry.patience_s)
        self._chance = chance
        self._breakers = breakers
        self._waiting: list[tuple[float, int, Target]] = []
        self._serials = itertools.count()
        self._suspects: dict[str, list[tuple[Target, SyncError]]] = {}
        self.failed: list[tuple[Target, SyncError]] = []
        """Those that have used up their tries at registries that, as is known now, were not down."""
        self.given_up: list[str] = []
        """Registries for which nothing is to wait."""
        breakers.listen(self._on_breaker)

    def __len__(self) -> int:
        return len(self._waiting) + sum(len(some) for some in self._suspects.values())

    @property
    def wake_at(self) -> float | None:
        """When the next is due; None: nothing waits for time."""
        return self._waiting[0][0] if self._waiting else None

    def try_put(self, target: Target, registry: str, error: SyncError, now: float) -> bool:
        """`target` failed by what happened at `registry`: whether it waits to be tried again, perhaps; where it does
        not, `error` tells its history.

        What fails while the registry is down uses up no try, and the queue keeps it until the registry is back. What
        has used up its tries waits until it is known whether the registry is down.
        """
        tries, breakers = target.tries or Tries(now), self._breakers
        held = breakers.is_held(registry) and fault_of(error) is not None
        counts = not held and self.patience.is_try(error, registry, now)
        pause = self._retry.pause_s(error, tries.made + counts, self._chance(), tries.spent_s(now))
        target.tries = tries = tries.plus(error, now, pause, counts=counts)
        if breakers.is_given_up(registry) and held:
            return False
        if held or pause is not None:
            self._put(target, now if held or pause is None else now + pause)
            return True
        tries.write_on(error)
        if not breakers.exhausted(registry, error, now if tries.failed_at is None else tries.failed_at, now):
            return False
        self._suspects.setdefault(registry, []).append((target, error))
        return True

    def _on_breaker(self, breaker: Breaker) -> None:
        """Where a registry was down indeed, what used up its tries has all of them again, and is due."""
        if breaker.state is BreakerState.GIVEN_UP:
            self.given_up.append(breaker.registry)
        elif breaker.state is BreakerState.CLOSED:
            suspects = self._suspects.pop(breaker.registry, [])
            if not breaker.probes:
                self.failed += suspects
                return
            for target, _ in suspects:
                target.tries = target.tries.anew() if target.tries is not None else None
                self._put(target, 0.0)

    def _put(self, target: Target, at: float) -> None:
        heapq.heappush(self._waiting, (at, next(self._serials), target))

    def take(self, registry: str) -> list[Target]:
        """Those that come from or go to `registry`; they wait no more."""
        taken = [entry[2] for entry in self._waiting if registry in _registries(entry[2])]
        if taken:
            self._waiting = [entry for entry in self._waiting if registry not in _registries(entry[2])]
            heapq.heapify(self._waiting)
        for at, suspects in self._suspects.items():
            taken += [target for target, _ in suspects if registry in _registries(target)]
            self._suspects[at] = [one for one in suspects if registry not in _registries(one[0])]
        return taken

    def take_due(self, now: float) -> Iterator[Target]:
        """Those whose turn it is, one after the other; they wait no more."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]


def _registries(target: Target) -> tuple[str, str]:
    return target.source.registry, target.repository.registry
