"""Snapshots: how far a run is, for those who watch.

Progress: told to whoever watches the run, and to the journal.
"""

from __future__ import annotations

import asyncio
import traceback
from itertools import islice
from typing import TYPE_CHECKING

from image_syncer.coordinator.crash import crash_words
from image_syncer.telemetry import RateMeter, Snapshot, get_logger
from image_syncer.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.registry_access import RegistryAccess
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.coordinator.watchdog import Watchdog
    from image_syncer.journal.journal import Journal
    from image_syncer.planning.foreseen import Foreseen, ForeseenTimeLeft
    from image_syncer.planning.remaining import TimeLeft
    from image_syncer.planning.time_left import TimeLeftModel
    from image_syncer.telemetry import RegistryRow

__all__ = ["Progress", "Snapshots"]


_log = get_logger(__name__)


class Progress:
    """Tells the snapshots that `take(now)` makes, at loop time `now`; a listener that fails is told nothing more."""

    def __init__(
        self,
        take: Callable[[float], Snapshot],
        on_progress: Callable[[Snapshot], None] | None,
        journal: Journal | None,
    ) -> None:
        self._take = take
        self._on_progress = on_progress
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self.warnings: list[str] = []

    def tell(self) -> None:
        """What is so now; the journal hears of it as often as it wants to."""
        due = self._journal is not None and self._journal.is_due(self._loop.time())
        if self._on_progress is None and not due:
            return
        snapshot = self._take(self._loop.time())
        if self._journal is not None and due:
            self._journal.note_progress(snapshot)
        if self._on_progress is None:
            return
        try:
            self._on_progress(snapshot)
        except Exception as error:  # noqa: BLE001 - a run is worth more than its display
            self._on_progress = None
            self.warnings.append(f"progress could not be shown any more: {crash_words(error)}")
            _log.debug("progress cannot be shown any more", traceback=traceback.format_exc())

    def note_end(self, ended: str) -> None:
        """The last that the journal hears: how the run ended."""
        if self._journal is not None:
            self._journal.note_progress(self._take(self._loop.time()), ended=ended)


SLOWEST_ROWS = 5
MOST_REGISTRIES = 50
"""In one snapshot: the busiest, where there are more."""
MOST_STUCK = 5


class Snapshots:
    """Takes them of one run, which began at `began` (loop time)."""

    def __init__(
        self, ledger: Ledger, transfers: Transfers, access: RegistryAccess, watchdog: Watchdog, began: float
    ) -> None:
        self._ledger = ledger
        self._transfers = transfers
        self._access = access
        self._watchdog = watchdog
        self._began = began
        self._rate = RateMeter()
        self._time_left: TimeLeftModel | None = None
        self._foreseen: ForeseenTimeLeft | None = None

    def take(
        self,
        now: float,
        *,
        rules: tuple[int, int],
        waiting: str | None,
        held: str | None = None,
        foreseen: Foreseen | None = None,
    ) -> Snapshot:
        """`rules`: those that are resolved to images, and those that are not; `waiting`: what the run waits for, in
        words; `held`: see `Snapshot`; `foreseen`: how the run was foreseen to go, if it was.
        """
        transfers, scheduler = self._transfers, self._transfers.scheduler
        running, pacing = transfers.running, transfers.pacing
        in_flight = transfers.bytes_in_flight
        done = scheduler.landed_bytes + in_flight
        self._rate.update(now, transfers.reports.moved_bytes + in_flight)
        rate = self._rate.bytes_per_s(now)
        down = self._down()
        registries = running.load.registries(
            running,
            now,
            connections=scheduler.queue.connections(),
            requests_per_s=pacing.rates(),
            throttled=lambda registry: down.get(registry) or pacing.throttled(registry),
            down=down,
        )
        left = self._left(now, done, rules, held, foreseen)
        return Snapshot(
            elapsed_s=now - self._began,
            images_total=self._ledger.planned,
            images_done=self._ledger.totals.images,
            outcomes=dict(self._ledger.totals.outcomes),
            listing=rules[1] > 0,
            blobs_total=scheduler.wanted_blobs,
            blobs_done=scheduler.landed_blobs,
            bytes_total=scheduler.wanted_bytes,
            bytes_done=done,
            bytes_per_s=rate,
            eta_s=None if left is None else left.seconds,
            eta_least_s=None if left is None else left.least_s,
            eta_most_s=None if left is None else left.most_s,
            eta_waits_for=None if left is None else left.waits_for,
            slowest=transfers.slowest(SLOWEST_ROWS),
            waiting=waiting,
            registries=_busiest(registries),
            workers=running.load.workers(running, now, held=scheduler.held(), restarts=transfers.restarts),
            stuck=tuple(islice(self._watchdog.stuck(), MOST_STUCK)),
            streams=scheduler.streams_allowed,
            rate_limit=pacing.bytes.rate,
            held=held,
        )

    def _left(
        self, now: float, moved: int, rules: tuple[int, int], held: str | None, foreseen: Foreseen | None
    ) -> TimeLeft | None:
        """How long the rest takes: by the run's own paces, and by what was foreseen."""
        from image_syncer.coordinator.remaining import remaining_of
        from image_syncer.planning.time_left import TimeLeftModel

        if self._time_left is None:
            self._time_left = TimeLeftModel()
        remaining = remaining_of(self._ledger, self._transfers, self._access, rules=rules, held=held)
        own = self._time_left.note(now, remaining)
        if foreseen is None or remaining.ended >= remaining.images > 0:
            return own
        if self._foreseen is None:
            from image_syncer.planning.foreseen import ForeseenTimeLeft

            self._foreseen = ForeseenTimeLeft(foreseen)
        far = foreseen.far(remaining.ended, self._transfers.scheduler.landed_blobs, moved)
        # No simulation knows of these, and the run's own paces do.
        is_held = held is not None or bool(remaining.alone or remaining.rates) or remaining.rate is not None
        return self._foreseen.note(now, now - self._began, far, own, held=is_held)

    def _down(self) -> dict[str, str]:
        """The registries that do not answer, in words."""
        health = self._access.health
        breakers = health.breakers
        down = {name: "given up, was down too long" for name in breakers.troubled if breakers.is_given_up(name)}
        down.update({name: f"down for {format_duration(seconds)}" for name, seconds in health.outages()})
        return down


def _busiest(rows: tuple[RegistryRow, ...]) -> tuple[RegistryRow, ...]:
    if len(rows) <= MOST_REGISTRIES:
        return rows
    return tuple(sorted(rows, key=lambda row: (row.bytes_per_s, row.in_flight), reverse=True)[:MOST_REGISTRIES])
