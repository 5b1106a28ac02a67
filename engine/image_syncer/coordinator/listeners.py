"""The listeners of a run: the snapshots of its progress and the events that it makes for them."""

from __future__ import annotations

import asyncio
import traceback
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from image_syncer.coordinator.rules import OPEN_IMAGES
from image_syncer.dispatch.ending import crash_words
from image_syncer.scheduling import BreakerState
from image_syncer.telemetry import Outcome, RateMeter, Snapshot, get_logger
from image_syncer.telemetry.events import RegistryBack, RegistryDown, RegistryGivenUp, RunEnded, Warned
from image_syncer.units import format_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from image_syncer.capacity.time_left import PredictedTimeLeft, Remaining, TimeLeft, TimeLeftModel
    from image_syncer.control.run_control import Pause, RunControl
    from image_syncer.coordinator.context import RunContext
    from image_syncer.coordinator.rules import RuleRunner
    from image_syncer.discovery.registry_access import RegistryAccess
    from image_syncer.journal.journal import Journal
    from image_syncer.scheduling import Breaker, Breakers
    from image_syncer.scheduling.blob_set import Way
    from image_syncer.scheduling.scheduler import SchedulerStats
    from image_syncer.telemetry import ImageResult, RegistryRow, Report
    from image_syncer.telemetry.events import Event


class Listeners(Value, frozen=True):
    """The callbacks of the entry points; see `sync`. They are called from the loop of the run, and must not block."""

    on_progress: Callable[[Snapshot], None] | None = None
    on_image: Callable[[ImageResult], None] | None = None
    on_event: Callable[[Event], None] | None = None


_Item = TypeVar("_Item")


def call_all(*listeners: Callable[[_Item], None] | None) -> Callable[[_Item], None] | None:
    """Return a listener that calls `listeners`, in their order; None where all of them are None."""
    wanted = [each for each in listeners if each is not None]
    if len(wanted) <= 1:
        return wanted[0] if wanted else None

    def call(item: _Item) -> None:
        for each in wanted:
            each(item)

    return call


class EventReporter:
    """Makes events for `on_event`; none, where it is None.

    An `on_event` that raises gets only the end from then on; `on_failure` gets the error.
    """

    def __init__(self, on_event: Callable[[Event], None] | None, *, on_failure: Callable[[Exception], None]) -> None:
        self._on_event = on_event
        self._on_failure = on_failure
        self._has_failed = False
        self._warnings_made = 0

    def maker(self, event_of: Callable[[_Item], Event]) -> Callable[[_Item], None] | None:
        """Return a listener that makes the event `event_of(item)`; None where there is no `on_event`."""
        return None if self._on_event is None else lambda item: self._make(event_of(item))

    def listen(self, breakers: Breakers) -> None:
        """Make events of registries that are down, back or given up. Call it after the parts that note since when."""
        if self._on_event is not None:
            breakers.listen(self._on_breaker)

    def report_warnings(self, warnings: Sequence[str]) -> None:
        """Make events of the warnings since the last call; `warnings` only grows."""
        if self._on_event is None:
            return
        new, self._warnings_made = warnings[self._warnings_made :], len(warnings)
        for text in new:
            self._make(Warned(text))

    def report_end(self, report: Report) -> None:
        """Make the event of the end. The caller of the run gets what `on_event` raises."""
        self.report_warnings(report.warnings)
        if self._on_event is not None:
            self._on_event(RunEnded(report))

    def _on_breaker(self, breaker: Breaker) -> None:
        if breaker.state is BreakerState.OPEN:
            self._make(RegistryDown(breaker.registry, breaker.since))
        elif breaker.state is BreakerState.GIVEN_UP:
            self._make(RegistryGivenUp(breaker.registry, breaker.down_error().message))
        else:
            self._make(RegistryBack(breaker.registry))

    def _make(self, event: Event) -> None:
        if self._on_event is None or self._has_failed:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - the listener must not end the run
            self._has_failed = True
            self._on_failure(error)


SLOWEST_ROWS = 5
MOST_REGISTRIES = 50
"""Registries in one snapshot: the busiest, where there are more."""
MOST_STUCK = 5
LEAST_ALONE_S = 0.5
"""Shorter pauses of registries are over before they matter."""

_log = get_logger(__name__)


class Progress:
    """Reports the snapshots of `take(now)` to `on_progress` and the journal. A listener that raises gets no more."""

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

    def report(self) -> None:
        """Report the progress now; to the journal as often as it asks for."""
        now = self._loop.time()
        due = self._journal is not None and self._journal.is_due(now)
        if self._on_progress is None and not due:
            return
        snapshot = self._take(now)
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
        """Write to the journal how the run ended."""
        if self._journal is not None:
            self._journal.note_progress(self._take(self._loop.time()), ended=ended)


class Snapshots:
    """Takes the snapshots of one run, which began at loop time `began`."""

    def __init__(
        self,
        context: RunContext,
        access: RegistryAccess,
        rules: RuleRunner,
        control: RunControl,
        pause: Pause,
        began: float,
    ) -> None:
        self._ledger = context.ledger
        self._transfers = context.transfers
        self._watchdog = context.watchdog
        self._access = access
        self._rules = rules
        self._control = control
        self._pause = pause
        self._began = began
        self._rate = RateMeter()
        self._time_left: TimeLeftModel | None = None
        self._predicted: PredictedTimeLeft | None = None

    def take(self, now: float) -> Snapshot:
        """Return the snapshot at loop time `now`."""
        transfers, scheduling = self._transfers, self._transfers.scheduler.stats()
        running, pacing, totals = transfers.running, transfers.pacing, self._ledger.totals
        in_flight = running.bytes_received
        done = scheduling.landed_bytes + in_flight
        self._rate.update(now, transfers.reports.moved_bytes + in_flight)
        down = self._down()
        registries = running.load.registries(
            running,
            now,
            connections=scheduling.connections,
            requests_per_s=pacing.rates(),
            throttled=lambda registry: down.get(registry) or pacing.throttled(registry),
            down=down,
        )
        remaining = self._remaining(scheduling)
        left = self._left(now, (scheduling.landed_blobs, done), remaining)
        return Snapshot(
            elapsed_s=now - self._began,
            images_total=self._ledger.planned,
            images_done=totals.images,
            outcomes=dict(totals.outcomes),
            listing=remaining.rules_left > 0,
            blobs_total=scheduling.wanted_blobs,
            blobs_done=scheduling.landed_blobs,
            bytes_total=scheduling.wanted_bytes,
            bytes_done=done,
            bytes_per_s=self._rate.bytes_per_s(now),
            eta_s=None if left is None else left.seconds,
            eta_least_s=None if left is None else left.least_s,
            eta_most_s=None if left is None else left.most_s,
            eta_waits_for=None if left is None else left.waits_for,
            slowest=running.slowest(SLOWEST_ROWS, now),
            waiting=self._access.waiting(now) or pacing.waiting(),
            registries=_busiest(registries),
            workers=running.load.workers(running, now, held=scheduling.held, restarts=transfers.restarts),
            stuck=tuple(islice(self._watchdog.stuck(), MOST_STUCK)),
            streams=scheduling.streams,
            rate_limit=pacing.bytes.rate,
            held=remaining.held,
        )

    def _left(self, now: float, done: tuple[int, int], remaining: Remaining) -> TimeLeft | None:
        """Return the time left, from the paces of the run and from what a benchmark predicted."""
        from image_syncer.capacity.time_left import TimeLeftModel

        if self._time_left is None:
            self._time_left = TimeLeftModel()
        own = self._time_left.note(now, remaining)
        foreseen = self._control.foreseen
        if foreseen is None or remaining.ended >= remaining.images > 0:
            return own
        if self._predicted is None:
            from image_syncer.capacity.time_left import PredictedTimeLeft

            self._predicted = PredictedTimeLeft(foreseen)
        progress = foreseen.progress(remaining.ended, *done)
        # No simulation knows of these, and the paces of the run do.
        is_held = bool(remaining.held or remaining.pauses or remaining.rates) or remaining.rate is not None
        return self._predicted.note(now, now - self._began, progress, own, held=is_held)

    def _remaining(self, scheduling: SchedulerStats) -> Remaining:
        """Count what is left; costs no more than what is under way."""
        from image_syncer.capacity.time_left import Flow, Remaining

        transfers, totals = self._transfers, self._ledger.totals
        flows: dict[Way, Flow] = {}
        largest, streams = float(scheduling.largest_waiting_bytes), 0
        for running in transfers.running:
            job, is_streamed = running.job, False
            for position, target in enumerate(job.targets):
                if position in running.ended_targets:
                    continue
                flow = flows.setdefault((job.source.registry, target.repository.registry), Flow())
                if target.booked_bytes <= scheduling.small_bytes:
                    flow.small += 1
                else:
                    is_streamed = True
                    flow.streamed += 1
                    flow.received += min(job.received, target.booked_bytes)
            if is_streamed:
                streams += 1
                largest = max(largest, job.left)
        rates = transfers.pacing.bytes.rates()
        resolved, unresolved = self._rules.counts
        return Remaining(
            images=self._ledger.planned,
            ended=totals.images,
            copied=totals.outcomes.get(Outcome.COPIED, 0),
            open=transfers.deliveries,
            waiting=scheduling.waiting_deliveries,
            window=OPEN_IMAGES,
            rules=resolved,
            rules_left=unresolved,
            ways=scheduling.ways,
            flows=flows,
            largest=largest,
            streams=streams,
            rate=rates.pop(None, None),
            rates={name: rate for name, rate in rates.items() if name is not None},
            pauses=dict(self._alone(scheduling.ways)),
            held=str(self._pause) or None,
        )

    def _alone(self, ways: Iterable[Way]) -> Iterator[tuple[str, float]]:
        """Yield the registries that get no requests, and for how many seconds; those that are down."""
        pacing = self._transfers.pacing
        registries = dict.fromkeys(name for way in ways for name in way)
        for registry in registries:
            if (seconds := pacing.alone_s(registry)) >= LEAST_ALONE_S:
                yield registry, seconds
        for registry, _ in self._access.health.outages():
            yield registry, float("inf")

    def _down(self) -> dict[str, str]:
        """Return the registries that do not answer, with the reason in words."""
        health = self._access.health
        breakers = health.breakers
        down = {name: "given up, was down too long" for name in breakers.troubled if breakers.is_given_up(name)}
        down.update({name: f"down for {format_duration(seconds)}" for name, seconds in health.outages()})
        return down


def _busiest(rows: tuple[RegistryRow, ...]) -> tuple[RegistryRow, ...]:
    if len(rows) <= MOST_REGISTRIES:
        return rows
    return tuple(sorted(rows, key=lambda row: (row.bytes_per_s, row.in_flight), reverse=True)[:MOST_REGISTRIES])
