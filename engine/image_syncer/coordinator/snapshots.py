"""Snapshots: how far a run is, for those who watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.telemetry import RateMeter, Snapshot, estimate_time_left

if TYPE_CHECKING:
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.transfers import Transfers

__all__ = ["Snapshots"]

SLOWEST_ROWS = 5


class Snapshots:
    """Takes them of one run, which began at `began` (loop time)."""

    def __init__(self, ledger: Ledger, transfers: Transfers, began: float) -> None:
        self._ledger = ledger
        self._transfers = transfers
        self._began = began
        self._rate = RateMeter()

    def take(self, now: float, *, listing: bool, waiting: str | None) -> Snapshot:
        """`listing`: whether more images may come up; `waiting`: what the run waits for, in words."""
        scheduler = self._transfers.scheduler
        in_flight = self._transfers.bytes_in_flight
        done = scheduler.landed_bytes + in_flight
        self._rate.update(now, self._transfers.moved_bytes + in_flight)
        rate = self._rate.bytes_per_s(now)
        return Snapshot(
            elapsed_s=now - self._began,
            images_total=self._ledger.planned,
            images_done=self._ledger.totals.images,
            outcomes=dict(self._ledger.totals.outcomes),
            listing=listing,
            blobs_total=scheduler.wanted_blobs,
            blobs_done=scheduler.landed_blobs,
            bytes_total=scheduler.wanted_bytes,
            bytes_done=done,
            bytes_per_s=rate,
            eta_s=estimate_time_left(scheduler.wanted_bytes - done, rate),
            slowest=self._transfers.slowest(SLOWEST_ROWS),
            waiting=waiting,
        )
