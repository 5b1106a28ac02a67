"""Settlement: what follows when a blob has landed, has failed, or is wanted no more: who is told, who is tried again,
and who may move now. Pure: time comes in as an argument, in seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.planning.connections import refusal_of
from image_syncer.planning.job import Arrival, BlobFailed, BlobLanded

if TYPE_CHECKING:
    from image_syncer.planning.blob_set import BlobSet, Target
    from image_syncer.planning.breaker import Breakers
    from image_syncer.planning.deliveries import Deliveries
    from image_syncer.planning.job import Decision
    from image_syncer.planning.job_queue import JobQueue
    from image_syncer.planning.retry_queue import RetryQueue
    from image_syncer.planning.stream_tuner import StreamTuner

__all__ = ["Settlement"]


class Settlement:
    """Gives targets their outcomes. `blobs` knows who waits behind them, `queue` takes up who may move, `later` who is
    tried again; `deliveries` are told.
    """

    def __init__(
        self,
        blobs: BlobSet,
        queue: JobQueue,
        later: RetryQueue,
        deliveries: Deliveries,
        breakers: Breakers,
        tuner: StreamTuner | None,
    ) -> None:
        self._blobs = blobs
        self._queue = queue
        self._later = later
        self._deliveries = deliveries
        self._breakers = breakers
        self._tuner = tuner
        self.landed_blobs = 0
        """Wanted blobs that have an outcome: they are there, or were given up."""
        self.landed_bytes = 0

    def land(self, target: Target, arrival: Arrival, bytes_moved: int, decisions: list[Decision]) -> None:
        """`target` has its blob: whoever waited for it is told so in `decisions`."""
        if target.mounts and arrival is not Arrival.PRESENT:
            self._queue.learn_mount(target.repository.registry, mounted=arrival is Arrival.MOUNTED)
        if arrival is Arrival.MOVED:
            self._later.patience.moved(target.source.registry, target.repository.registry)
        served, released = self._blobs.landed(target)
        for other in released:
            self._queue.add(other)
        digest, tries = target.digest, 1 + (target.tries.made if target.tries else 0)
        for one in (target, *served):
            for delivery in self._settle(one):
                decisions.append(BlobLanded(delivery, digest, arrival, bytes_moved, tries))
                arrival, bytes_moved = Arrival.PRESENT, 0

    def note_refusal(self, registry: str, error: SyncError, now: float) -> None:
        """What a registry cannot serve now it is asked for less often, or not at all."""
        self._breakers.failed(registry, error, now)
        refusal = refusal_of(error)
        if refusal is not None and self._queue.refused(registry, now, broken=refusal.broken) and self._tuner:
            self._tuner.refused(now)

    def retry_or_give_up(self, target: Target, registry: str, error: SyncError, now: float) -> list[Decision]:
        """`target` failed by what happened at `registry`."""
        if not self._deliveries.want(target):
            self.abandon(target)
        elif not self._later.try_put(target, registry, error, now):
            error = self._breakers.reason_of(registry, error)
            return self.give_up(target, error, source_failed=error.origin is Origin.SOURCE)
        return []

    def give_up(self, target: Target, error: SyncError, *, source_failed: bool) -> list[Decision]:
        """`target` fails for good; with `source_failed`, so do those that waited for it to be brought from there."""
        fallen, released = self._blobs.failed(target, source_failed=source_failed)
        for other in released:
            self._queue.add(other)
        deliveries = [delivery for one in (target, *fallen) for delivery in self._settle(one)]
        return [BlobFailed(delivery, target.digest, error) for delivery in deliveries]

    def give_up_registries(self, decisions: list[Decision]) -> None:
        """Whatever waits for a registry that was given up fails with that reason; what is not the fault of its registry
        fails by itself.
        """
        later = self._later
        while later.failed:
            target, error = later.failed.pop()
            decisions += self.give_up(target, error, source_failed=error.origin is Origin.SOURCE)
        for registry in later.given_up:
            while targets := [*self._queue.take(registry), *later.take(registry)]:
                for target in targets:
                    error = self._breakers.of(registry).down_error()
                    is_source = target.source.registry == registry
                    error.origin = Origin.SOURCE if is_source else Origin.DESTINATION
                    decisions += self.give_up(target, error, source_failed=is_source)

    def abandon(self, target: Target) -> None:
        """Nobody waits for `target`; those behind it do not suffer from what happened to it."""
        self.give_up(target, SyncError("no longer needed"), source_failed=False)

    def _settle(self, target: Target) -> list[int]:
        """Count `target`, which has an outcome; the deliveries that still waited for it, in the order they came."""
        self.landed_blobs += 1
        self.landed_bytes += target.booked_bytes
        self._blobs.work.end(target)
        return self._deliveries.settle(target)
