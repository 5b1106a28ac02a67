"""Blobs that wait for their next try, and how long a run waits for a registry that refuses (429)."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from image_syncer.errors import NotAskedError, RateLimitedError, SyncError
from image_syncer.scheduling.breaker import BreakerState, fault_of
from image_syncer.scheduling.retry import RetryPolicy, Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer.scheduling.blob_set import BlobTarget
    from image_syncer.scheduling.breaker import Breaker, Breakers


_Matter = tuple[str, "str | None"]
"""A registry and an operation that it refuses: some limit only reads of manifests, others only writes."""


class Patience:
    """Since when each operation at each registry is refused without exception; times in seconds.

    A registry that paces requests answers 429 now and then, and waiting is all that it asks for. One that accepts
    nothing any more, such as with a quota of hours, is no better a minute later.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self.since: dict[_Matter, float] = {}

    def __bool__(self) -> bool:
        return bool(self.since)

    def waits(self, registry: str, operation: str | None, now: float) -> bool:
        """The operation was refused; return whether to wait for that, without counting a failed try."""
        since = self.since.setdefault((registry, operation), now)
        return now - since < self._longest_s

    def is_try(self, error: SyncError, registry: str, now: float) -> bool:
        """Whether `error`, at `registry`, counts as a failed try."""
        if isinstance(error, NotAskedError):
            return self.is_over(registry, now)
        return not (isinstance(error, RateLimitedError) and self.waits(registry, error.operation, now))

    def is_over(self, registry: str, now: float) -> bool:
        """Whether it refuses something for too long: waiting does not help there."""
        return any(name == registry and now - since >= self._longest_s for (name, _), since in self.since.items())

    def went(self, registry: str, operation: str) -> None:
        """The operation was accepted."""
        self.since.pop((registry, operation), None)

    def moved(self, *registries: str) -> None:
        """A blob was moved from one to the other: all its operations were accepted."""
        for matter in [matter for matter in self.since if matter[0] in registries]:
            del self.since[matter]


class RetryQueue:
    """Targets that wait for time, the next first, or until it is known whether a registry is down. `chance` gives a
    uniform number in [0, 1) for each pause.
    """

    def __init__(self, retry: RetryPolicy, chance: Callable[[], float], breakers: Breakers) -> None:
        self._retry = retry
        self.patience = Patience(retry.patience_s)
        self._chance = chance
        self._breakers = breakers
        self._waiting: list[tuple[float, int, BlobTarget]] = []
        self._serials = itertools.count()
        self._suspects: dict[str, list[tuple[BlobTarget, SyncError]]] = {}
        self.failed: list[tuple[BlobTarget, SyncError]] = []
        """Targets that have used up their tries at registries that were not down."""
        self.given_up: list[str] = []
        """Registries for which nothing is to wait."""
        breakers.listen(self._on_breaker)

    def __len__(self) -> int:
        return len(self._waiting) + sum(len(some) for some in self._suspects.values())

    @property
    def wake_at(self) -> float | None:
        """When the next is due; None: nothing waits for time."""
        return self._waiting[0][0] if self._waiting else None

    def put(self, target: BlobTarget, registry: str, error: SyncError, now: float) -> SyncError | None:
        """Queue `target`, which failed with `error` at `registry`, for another try. Return None where it waits, else
        the error with its history.

        An error while the registry is down counts as no try, and the target waits until the registry is back. A target
        that has used up its tries waits until it is known whether the registry is down.
        """
        tries, breakers = target.tries or Tries(now), self._breakers
        held = breakers.is_held(registry) and fault_of(error) is not None
        counts = not held and self.patience.is_try(error, registry, now)
        pause = self._retry.pause_s(error, tries.made + counts, self._chance(), tries.spent_s(now))
        target.tries = tries = tries.plus(error, now, pause, counts=counts)
        if breakers.is_given_up(registry) and held:
            return error
        if held or pause is not None:
            self._put(target, now if held or pause is None else now + pause)
            return None
        last = tries.write_on(error)
        if not breakers.exhausted(registry, last, now if tries.failed_at is None else tries.failed_at, now):
            return last
        self._suspects.setdefault(registry, []).append((target, last))
        return None

    def _on_breaker(self, breaker: Breaker) -> None:
        """After an outage, targets that had used up their tries get all of them again, and are due."""
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

    def _put(self, target: BlobTarget, at: float) -> None:
        heapq.heappush(self._waiting, (at, next(self._serials), target))

    def take(self, registry: str) -> list[BlobTarget]:
        """Remove and return the targets from or to `registry`."""
        taken = [entry[2] for entry in self._waiting if registry in _registries(entry[2])]
        if taken:
            self._waiting = [entry for entry in self._waiting if registry not in _registries(entry[2])]
            heapq.heapify(self._waiting)
        for at, suspects in self._suspects.items():
            taken += [target for target, _ in suspects if registry in _registries(target)]
            self._suspects[at] = [one for one in suspects if registry not in _registries(one[0])]
        return taken

    def take_due(self, now: float) -> Iterator[BlobTarget]:
        """Remove the targets that are due, one after the other."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]


def _registries(target: BlobTarget) -> tuple[str, str]:
    return target.source.registry, target.repository.registry
