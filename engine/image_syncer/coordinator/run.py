"""A run: rules in, a report out. Discovery, transfer and publishing overlap; memory is bounded by the images under
way.
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from image_syncer.config.referrers import check_form
from image_syncer.coordinator.ahead import AheadLooks
from image_syncer.coordinator.control import RunControl
from image_syncer.coordinator.crash import CrashWatch, crash_reason, crash_words, tell_crash
from image_syncer.coordinator.discovery import Discovery
from image_syncer.coordinator.ending import Ending
from image_syncer.coordinator.event_teller import EventTeller
from image_syncer.coordinator.guard import end_run, guard
from image_syncer.coordinator.hold import Hold
from image_syncer.coordinator.holdings import BoundedHoldings
from image_syncer.coordinator.image_sync import ImageSync
from image_syncer.coordinator.journal_holdings import JournaledHoldings
from image_syncer.coordinator.journal_opening import journal_of
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.listings import Listings
from image_syncer.coordinator.machine import inspect_machine, open_files
from image_syncer.coordinator.meter import Meter
from image_syncer.coordinator.plan_maker import PlanMaker
from image_syncer.coordinator.policy import PolicyGate
from image_syncer.coordinator.preparation import Preparation
from image_syncer.coordinator.progress import Progress
from image_syncer.coordinator.publisher import Publisher
from image_syncer.coordinator.quirks import Quirks
from image_syncer.coordinator.referrer_copies import copies_of
from image_syncer.coordinator.registry_access import RegistryAccess
from image_syncer.coordinator.rules import RuleRunner
from image_syncer.coordinator.run_files import RunFiles
from image_syncer.coordinator.sessions import UploadSessions
from image_syncer.coordinator.snapshots import Snapshots
from image_syncer.coordinator.told_settings import told_settings
from image_syncer.coordinator.transfers import Transfers
from image_syncer.coordinator.usage import UsageMeter
from image_syncer.coordinator.watchdog import Watchdog, longest_quiet_s
from image_syncer.credentials import CredentialSource
from image_syncer.errors import ConfigurationError, InternalError, SyncError
from image_syncer.planning import decide_policies, decide_resources
from image_syncer.telemetry import Report, get_logger
from image_syncer.telemetry.observing import Observed

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.pruner import Pruner
    from image_syncer.coordinator.rules import Images
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.coordinator.worker_source import WorkerSource
    from image_syncer.net import EndpointBook
    from image_syncer.planning import Breaker, Holdings, RetryPolicies
    from image_syncer.telemetry import ImageResult, Snapshot
    from image_syncer.telemetry.events import Event

__all__ = ["Run"]

STOP_GRACE_S = 2.0
CHILDREN_IN_MEMORY = 100_000
"""Manifests that indexes name, of those that were put: some 13 MB."""

_log = get_logger(__name__)


class Run:
    """One run of a configuration; `execute` returns the report."""

    kind = "sync"
    """What the report says that it is of."""

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        *,
        on_progress: Callable[[Snapshot], None] | None,
        on_image: Callable[[ImageResult], None] | None,
        on_event: Callable[[Event], None] | None = None,
        control: RunControl | None = None,
        workers: WorkerSource | None = None,
    ) -> None:
        self._workers = workers
        check_form(configuration, settings)
        self._configuration = configuration
        self._settings = settings
        self._observed = Observed()
        on_progress, on_image = self._observed.progress(on_progress), self._observed.images(on_image)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._usage = UsageMeter()
        self._resources = decide_resources(settings, inspect_machine())
        self._warnings = [str(problem) for problem in configuration.warnings]
        self._journal = journal_of(settings)
        self._events = events = EventTeller(on_event, on_failure=lambda error: self._crashes.note(error))  # noqa: PLW0108
        self._progress = Progress(self._snapshot, events.progress(on_progress), self._journal)
        self._files = self._open_files()
        self._control = control or RunControl()
        self._hold = Hold()
        on_image = self._control.listening(on_image)
        self._pruner = self._new_pruner()
        on_image = events.images(on_image)
        self._ledger = self._new_ledger(self._pruner.listening(on_image) if self._pruner is not None else on_image)
        self._ending = Ending(on_begin=self._end_early, on_hurry=self._hurry)
        self._main: asyncio.Task[None] | None = None
        self._crashes = CrashWatch(self._on_crash)
        self._source = CredentialSource(os.environ)
        if (text := open_files(self._resources)) is not None:
            self._warnings.append(text)
        self._build()

    @property
    def ending(self) -> Ending:
        """By which others end it before all is done."""
        return self._ending

    async def execute(self, *, take_signals: bool = True) -> Report:
        """Bring every image of every rule to an outcome. Signals end the run early: once gently, twice at once. So does
        a mistake of ours, which the report tells. Raises ConfigurationError where the rules turn out to collide before
        anything is done.
        """
        self._observed.tell(lambda one: one.on_begin(self.kind, time.time() - (self._loop.time() - self._began)))
        with self._ending.signals(wanted=take_signals), self._crashes.listening(self._loop):
            watching = self._loop.create_task(self._watch())
            watching.add_done_callback(tell_crash)
            guarding = self._loop.create_task(guard(self._dog))
            guarding.add_done_callback(tell_crash)
            self._main = self._loop.create_task(self._work())
            try:
                with self._ending.deadline(self._settings.deadline_s):
                    async with self._control.of(self._hold, self._transfers, self._dog, self._snapshot):
                        await self._main
            except asyncio.CancelledError:
                if self._ending.name is None and self._crashes.error is None:
                    self._files.abandon()
                    raise
            except ConfigurationError:
                self._files.abandon()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, what was done until then is reported
                self._crashes.note(error)
            finally:
                await self._wind_up(watching, guarding)
        self._progress.tell()
        report = self._report()
        self._events.tell_end(report)
        self._observed.tell(lambda one: one.on_report(report))
        return report

    async def _work(self) -> None:
        await self._rules.run()
        if self._pruner is not None and await self._hold.may_begin():
            parts = (self._client, self._access.endpoints, self._discovery, self._listings)
            await self._pruner.run(*parts, holdings=self._holdings, journal=self._journal)

    async def _wind_up(self, *watching: asyncio.Task[None]) -> None:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        try:
            await self._transfers.stop(STOP_GRACE_S)
            if self._ending.name is None and self._crashes.error is None:
                await self._transfers.cancel_uploads()
        except Exception as error:  # noqa: BLE001 - as above
            self._crashes.note(error)
            self._transfers.kill()
        if self._hold.turned_away:
            self._ending.drained()
        if self._check is not None:
            await self._check.close()
        await self._access.health.close()
        self._warnings += self._source.take_warnings()
        if self._workers is not None:
            self._warnings += self._workers.take_warnings()
        # One that fails does not keep the others from being closed, nor the report from being written.
        parts = (self._source, self._access.driver, self._blobs, self._children)
        for close in (*(part.close for part in parts), self._close_journal):
            try:
                close()
            except Exception as error:  # noqa: BLE001, PERF203 - as above
                self._crashes.note(error)

    def _open_files(self) -> RunFiles:
        try:
            return RunFiles(self._settings)
        except SyncError:
            if self._journal is not None:
                self._journal.close()
            raise

    def _close_journal(self) -> None:
        """Before the report is written, which tells what went wrong with it."""
        if self._journal is None:
            return
        how = "complete" if self._main is not None and not self._main.cancelled() else "cancelled"
        ended = "crashed" if self._crashes.error is not None else self._ending.name or how
        self._progress.note_end(ended)
        self._journal.close()
        self._warnings += self._journal.warnings

    def _build(self) -> None:
        settings, registries = self._settings, self._configuration.registries
        policies = decide_policies(settings)
        self._access = access = RegistryAccess(
            settings,
            registries,
            self._source,
            policies,
            connections=self._resources.connections,
            on_pause=self._leave_alone,
            on_outage=self._on_outage,
        )
        self._client, endpoints = access.client, access.endpoints
        self._events.listen(access.health.breakers)
        self._dog = Watchdog(
            longest_quiet_s(settings, policies, request_s=access.timeouts.request_s),
            on_hopeless=end_run(self._ending),
            excuse=self._waits,
            holds_back=access.holds_back,
        )
        self._check = self._new_check(endpoints, policies)
        self._blobs = BoundedHoldings(settings.blobs_in_memory)
        holdings: Holdings = self._blobs
        sessions, quirks, journal = UploadSessions(), Quirks(), self._journal
        if journal is not None:
            holdings = JournaledHoldings(self._blobs, journal)
            sessions = UploadSessions(journal.sessions(), journal.note_session)
            quirks = Quirks(journal.quirks(), journal.note_quirk)
        self._holdings = holdings
        self._discovery = discovery = Discovery(self._client, endpoints, quirks, registries, settings)
        self._children = BoundedHoldings(min(settings.blobs_in_memory, CHILDREN_IN_MEMORY))
        self._transfers = Transfers(
            self._client,
            endpoints,
            registries,
            self._resources,
            settings,
            dog=self._dog,
            holdings=holdings,
            sessions=sessions,
            quirks=quirks,
            breakers=access.health.breakers,
            mirrors=discovery.mirrors,
            on_transfer=self._events.transfers(self._files.on_transfer),
            run_began_at=self._began,
            meter=Meter(self._observed, self._client) if self._observed else None,
            workers=self._workers,
        )
        self._snapshots = Snapshots(self._ledger, self._transfers, access, self._dog, self._began)
        self._preparation = Preparation(self._client, endpoints, access.lookup, policies, holdings, self._transfers)
        self._listings = Listings(self._client, endpoints, self._preparation.own_api)
        images = self._new_images(discovery, endpoints, holdings)
        if self._pruner is not None:
            images = self._pruner.around(images)
        self._rules = RuleRunner(
            self._configuration.rules,
            self._listings,
            images,
            self._ledger,
            settings,
            ending=self._ending,
            dog=self._dog,
            health=access.health,
            hold=self._hold,
            catalogs=self._configuration.catalogs,
        )

    def _new_pruner(self) -> Pruner | None:
        if self._settings.pruning is None:
            return None
        from image_syncer.coordinator.pruner import Pruner

        return Pruner(self._configuration, self._settings.pruning, dry_run=self._settings.dry_run)

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        return Ledger(self._files.report, self._files.listener(on_image), self._journal)

    def _new_check(self, endpoints: EndpointBook, _policies: RetryPolicies) -> TreeCheck | None:
        if not self._settings.verify:
            return None
        from image_syncer.coordinator.verify_tree import build_check

        return build_check(self._client, endpoints, self._settings)

    def _new_images(self, discovery: Discovery, endpoints: EndpointBook, holdings: Holdings) -> Images:
        publisher = Publisher(self._client, endpoints, self._children)
        parts = (self._client, endpoints, discovery, publisher)
        referrers = copies_of(parts, self._listings, self._ledger, dry_run=self._settings.dry_run)
        policies, times = self._configuration.policies, self._listings.times
        plan = self._files.plan
        return ImageSync(
            discovery,
            self._transfers,
            publisher,
            self._ledger,
            self._settings,
            holdings,
            ending=self._ending,
            dog=self._dog,
            journal=self._journal,
            check=self._check,
            preparation=self._preparation,
            referrers=referrers,
            plan=PlanMaker(plan, self._client, endpoints) if plan is not None else None,
            ahead=AheadLooks(discovery, times) if self._settings.tell_ahead else None,
            policy=PolicyGate(policies, referrers.search, times, self._settings) if policies else None,
        )

    def _leave_alone(self, registry: str, seconds: float) -> None:
        self._transfers.leave_alone(registry, seconds)

    async def _watch(self) -> None:
        while True:
            self._progress.tell()
            self._events.tell_warnings(self._warnings)
            self._transfers.pacing.sample()
            self._transfers.tell_measures()
            await asyncio.sleep(self._settings.progress_interval_s)

    def _snapshot(self, now: float) -> Snapshot:
        listing = self._rules.rules_left > 0
        return self._snapshots.take(now, listing=listing, waiting=self._waiting(now), held=str(self._hold) or None)

    def _on_outage(self, breaker: Breaker) -> None:
        text, is_given_up = self._access.tell_outage(breaker)
        if not is_given_up:  # or every image that needs it says so
            self._warnings.append(text)
        _log.info("registry down", registry=breaker.registry, since=breaker.since, message=text)

    def _waiting(self, now: float) -> str | None:
        return self._access.waiting(now) or self._transfers.pacing.waiting()

    def _report(self) -> Report:
        totals = self._ledger.totals
        totals.add_requests(self._access.transport.requests)
        totals.add_requests(self._transfers.reports.requests)
        self._transfers.pacing.sample()
        self._transfers.tell_measures()
        report = Report(
            settings=self._settings_data(),
            totals=totals,
            started_at=self._started_at,
            seconds=self._loop.time() - self._began,
            failures=tuple(self._ledger.failures),
            interrupted=self._ending.name,
            warnings=(*self._warnings, *self._progress.warnings, *self._ledger.warnings()),
            internal_error=self._internal_error(),
            resumes=self._transfers.reports.resumes.as_data(),
            limits=self._transfers.pacing.log.as_data(),
            mirrors=self._transfers.mirrors.as_data(),
            kind=self.kind,
            created=tuple(self._preparation.created),
            usage=self._usage.as_data(),
            pruned=None if self._pruner is None else self._pruner.pruned,
        )
        return self._files.close(report)

    def _settings_data(self) -> dict[str, Any]:
        return told_settings(self._settings, self._resources, self._configuration.policies)

    def _internal_error(self) -> str | None:
        if self._crashes.error is not None:
            return crash_words(self._crashes.error)
        try:
            self._ledger.check()
        except InternalError as error:
            return str(error)
        return None

    def _on_crash(self, error: Exception) -> None:
        self._ending.reason = crash_reason(error)
        self._end_early()

    def _hurry(self) -> None:
        self._control.hurry()
        self._transfers.kill()

    def _end_early(self) -> None:
        self._transfers.scheduler.stop()
        if self._main is not None:
            self._main.cancel()

    def _waits(self, now: float) -> bool:
        """Whether something is to happen at a time that is known."""
        wake_at = self._transfers.scheduler.wake_at
        return self._access.is_awaited(now) or (wake_at is not None and wake_at > now)
