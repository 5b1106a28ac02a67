"""The parts of a run, each made once and told of those that it needs. What lives between them is `Run`'s.

A run that verifies or prunes has parts of its own in some places: `verify_parts`, `prune_parts`.

The files that a run writes: its report, and the plan of a dry run. Each is there at the end, or not at all.

What a run remembers of registries. With a journal it goes on from what earlier runs knew, and is kept for later
ones; without, it ends with the run.

The settings of a run, as its report tells them.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from image_syncer.config.referrers import check_form
from image_syncer.coordinator.control import RunControl
from image_syncer.coordinator.discovery import Discovery
from image_syncer.coordinator.event_teller import EventTeller
from image_syncer.coordinator.guard import end_run
from image_syncer.coordinator.image_sync import ImageSync
from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.listings import Listings
from image_syncer.coordinator.machine import inspect_machine, open_files
from image_syncer.coordinator.pause import Pause
from image_syncer.coordinator.preparation import Preparation
from image_syncer.coordinator.publisher import Publisher
from image_syncer.coordinator.referrer_copies import copies_of
from image_syncer.coordinator.registry_access import RegistryAccess
from image_syncer.coordinator.rules import RuleRunner
from image_syncer.coordinator.sessions import UploadSessions
from image_syncer.coordinator.snapshots import Progress, Snapshots
from image_syncer.coordinator.transfers import Transfers
from image_syncer.coordinator.watchdog import Watchdog, longest_quiet_s
from image_syncer.credentials import CredentialSource
from image_syncer.errors import SyncError
from image_syncer.planning import decide_policies, decide_resources
from image_syncer.registry.capabilities import RegistryCapabilities
from image_syncer.telemetry import Report, ReportWriter, get_logger
from image_syncer.telemetry.observing import Observed
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.config import Configuration, Settings
    from image_syncer.config.policy import Policy
    from image_syncer.coordinator.ahead import AheadLooks
    from image_syncer.coordinator.crash import CrashWatch
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.listeners import Listeners
    from image_syncer.coordinator.meter import Meter
    from image_syncer.coordinator.plan_maker import PlanMaker
    from image_syncer.coordinator.policy import PolicyGate
    from image_syncer.coordinator.pruner import Pruner
    from image_syncer.coordinator.referrers import ReferrerSearch
    from image_syncer.coordinator.rules import Images
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.coordinator.worker_source import WorkerSource
    from image_syncer.journal.journal import Journal
    from image_syncer.planning import Breaker, KnownBlobs, Resources, RetryPolicies
    from image_syncer.telemetry import ImageResult, Snapshot, TransferRecord

__all__ = ["RunFiles", "RunMemory", "RunParts", "told_settings"]


def told_settings(settings: Settings, resources: Resources, policies: Sequence[Policy] = ()) -> dict[str, Any]:
    """What the report says of `settings`: enough to do again what was left undone (`retry --report`); of `policies`,
    their names.
    """
    wanted = settings.platform_filter
    return {
        **resources.as_data(),
        "retries": settings.retries,
        "force": settings.force,
        "on_conflict": str(settings.on_conflict),
        "referrers": str(settings.referrers),
        "verify": settings.verify,
        "dry_run": settings.dry_run,
        "rate": str(settings.rate or "") or None,
        "missing_platform": str(settings.missing_platform),
        "foreign_layers": str(settings.foreign_layers),
        "format": str(settings.manifest_format),
        "platforms": str(wanted) or None,
        "os": list(wanted.os_names),
        "arch": list(wanted.architectures),
        "policies": [policy.name for policy in policies],
    }


CHILDREN_IN_MEMORY = 100_000
"""Manifests that indexes name, of those that were put: some 13 MB."""


class RunMemory:
    """Opens the journal that `settings` name, and raises as `journal_of` does. What is in memory of blobs is bounded;
    the rest goes to temporary files.
    """

    def __init__(self, settings: Settings) -> None:
        self.journal = journal = _journal_of(settings)
        self.blobs = BoundedKnownBlobs(settings.blobs_in_memory)
        """Those of this run."""
        self.children = BoundedKnownBlobs(min(settings.blobs_in_memory, CHILDREN_IN_MEMORY))
        """Manifests that indexes name and that were put."""
        self.known_blobs: KnownBlobs = self.blobs
        """Blobs that are at destinations, as far as anybody knows."""
        self.sessions, self.capabilities = UploadSessions(), RegistryCapabilities()
        if journal is not None:
            from image_syncer.journal.known_blobs import JournaledKnownBlobs

            self.known_blobs = JournaledKnownBlobs(self.blobs, journal)
            self.sessions = UploadSessions(journal.sessions(), journal.note_session)
            self.capabilities = RegistryCapabilities(journal.capabilities(), journal.note_capability)


def _journal_of(settings: Settings) -> Journal | None:
    if settings.state_path is None:
        return None
    from image_syncer.journal.opening import journal_of

    return journal_of(settings)


class RunFiles:
    """Those that `settings` ask for. Raises ConfigurationError where one cannot be made."""

    def __init__(self, settings: Settings) -> None:
        self.report: ReportWriter | None = None
        self.plan: PlanWriter | None = None
        try:
            if settings.report_path:
                self.report = ReportWriter(settings.report_path)
            if settings.plan_path:
                from image_syncer.telemetry.plan_file import PlanWriter

                self.plan = PlanWriter(settings.plan_path)
        except SyncError:
            self.abandon()
            raise

    @property
    def on_transfer(self) -> Callable[[TransferRecord], None] | None:
        """What is to be told of each transfer that ends, for the report."""
        return self.report.add_transfer if self.report is not None else None

    def listener(self, on_image: Callable[[ImageResult], None] | None) -> Callable[[ImageResult], None] | None:
        """What is to be told of each image that ends, for the plan and for `on_image`."""
        plan = self.plan
        if plan is None:
            return on_image

        def tell_both(result: ImageResult) -> None:
            plan.add(result)
            if on_image is not None:
                on_image(result)

        return tell_both

    def close(self, report: Report) -> Report:
        """The run is over. The report, with what is to be said of a file that could not be written."""
        failures = []
        for file in (self.report, self.plan):
            try:
                if file is not None:
                    file.close(report)
            except SyncError as error:  # noqa: PERF203 - what was copied is copied, and wants to be told
                failures.append(str(error))
        return replace(report, unwritten="; ".join(failures)) if failures else report

    def abandon(self) -> None:
        """Leaves no file behind."""
        for file in (self.report, self.plan):
            if file is not None:
                file.abandon()


_log = get_logger(__name__)


class RunParts:
    """Those of a run that copies. `ending` is what ends the run before all is done, `crashes` what is told of mistakes
    of ours; `workers` is where workers come from (None: they are processes of this machine).

    Raises ConfigurationError where the run cannot begin.
    """

    kind = "sync"
    """What the report says that it is of."""

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        listeners: Listeners,
        *,
        ending: Ending,
        crashes: CrashWatch,
        control: RunControl | None = None,
        workers: WorkerSource | None = None,
    ) -> None:
        check_form(configuration, settings)
        self._configuration = configuration
        self._settings = settings
        self._ending = ending
        self._crashes = crashes
        self._workers = workers
        self.observed = Observed()
        self.began = asyncio.get_running_loop().time()
        self._resources = decide_resources(settings, inspect_machine())
        self.warnings = [str(problem) for problem in configuration.warnings]
        self._memory = RunMemory(settings)
        self.events = events = EventTeller(listeners.on_event, on_failure=crashes.note)
        on_progress = events.progress(self.observed.progress(listeners.on_progress))
        self.progress = Progress(self.snapshot, on_progress, self._memory.journal)
        self.files = self._open_files()
        self.control = control or RunControl()
        self.pause = Pause()
        self.pruner = self._new_pruner()
        on_image = events.images(self.control.listening(self.observed.images(listeners.on_image)))
        self.ledger = self._new_ledger(self.pruner.listening(on_image) if self.pruner is not None else on_image)
        self._source = CredentialSource(os.environ)
        if (text := open_files(self._resources)) is not None:
            self.warnings.append(text)
        self._build()

    def snapshot(self, now: float) -> Snapshot:
        """How far the run is, at loop time `now`."""
        waiting = self.access.waiting(now) or self.transfers.pacing.waiting()
        rules = self.rules.rules_resolved, self.rules.rules_left
        foreseen, held = self.control.foreseen, str(self.pause) or None
        return self._snapshots.take(now, rules=rules, waiting=waiting, held=held, foreseen=foreseen)

    def settings_data(self) -> dict[str, Any]:
        """The settings as the report tells them."""
        return told_settings(self._settings, self._resources, self._configuration.policies)

    async def prune(self) -> None:
        """What comes after all images, where it is wanted."""
        if self.pruner is not None and await self.pause.may_begin():
            parts = (self._client, self.access.endpoints, self._discovery, self._listings)
            await self.pruner.run(*parts, known_blobs=self._memory.known_blobs, journal=self._memory.journal)

    async def close(self, how: str) -> None:
        """Give up what they hold. The journal is told `how` the run ended, unless it was ended or crashed."""
        if self._check is not None:
            await self._check.close()
        await self.access.health.close()
        self.warnings += self._source.take_warnings()
        if self._workers is not None:
            self.warnings += self._workers.take_warnings()
        # One that fails does not keep the others from being closed, nor the report from being written.
        closing: tuple[Callable[[], None], ...] = (
            self._source.close,
            self.access.driver.close,
            self._memory.blobs.close,
            self._memory.children.close,
            lambda: self._close_journal(how),
        )
        for close in closing:
            try:
                close()
            except Exception as error:  # noqa: BLE001, PERF203 - whatever it is
                self._crashes.note(error)

    def _close_journal(self, how: str) -> None:
        """Before the report is written, which tells what went wrong with it."""
        journal = self._memory.journal
        if journal is None:
            return
        self.progress.note_end("crashed" if self._crashes.error is not None else self._ending.name or how)
        journal.close()
        self.warnings += journal.warnings

    def _open_files(self) -> RunFiles:
        try:
            return RunFiles(self._settings)
        except SyncError:
            if self._memory.journal is not None:
                self._memory.journal.close()
            raise

    def _build(self) -> None:
        settings, registries, memory = self._settings, self._configuration.registries, self._memory
        policies = decide_policies(settings)
        self.access = access = RegistryAccess(
            settings,
            registries,
            self._source,
            policies,
            connections=self._resources.connections,
            on_pause=self._leave_alone,
            on_outage=self._on_outage,
        )
        self._client, endpoints = access.client, access.endpoints
        self.events.listen(access.health.breakers)
        self.watchdog = Watchdog(
            longest_quiet_s(settings, policies, request_s=access.timeouts.request_s),
            on_hopeless=end_run(self._ending),
            excuse=self._waits,
            holds_back=access.holds_back,
        )
        self._check = self._new_check(policies)
        self._discovery = discovery = Discovery(self._client, endpoints, memory.capabilities, registries, settings)
        self.transfers = Transfers(
            self._client,
            endpoints,
            registries,
            self._resources,
            settings,
            watchdog=self.watchdog,
            known_blobs=memory.known_blobs,
            sessions=memory.sessions,
            capabilities=memory.capabilities,
            breakers=access.health.breakers,
            mirrors=discovery.mirrors,
            on_transfer=self.events.transfers(self.files.on_transfer),
            run_began_at=self.began,
            meter=self._new_meter(),
            workers=self._workers,
        )
        self._snapshots = Snapshots(self.ledger, self.transfers, access, self.watchdog, self.began)
        self.preparation = Preparation(
            self._client, endpoints, access.lookup, policies, memory.known_blobs, self.transfers
        )
        self._listings = Listings(self._client, endpoints, self.preparation.own_api)
        images = self._new_images()
        if self.pruner is not None:
            images = self.pruner.around(images)
        self.rules = RuleRunner(
            self._configuration.rules,
            self._listings,
            images,
            self.ledger,
            settings,
            ending=self._ending,
            watchdog=self.watchdog,
            health=access.health,
            pause=self.pause,
            catalogs=self._configuration.catalogs,
        )

    def _new_pruner(self) -> Pruner | None:
        if self._settings.pruning is None:
            return None
        from image_syncer.coordinator.pruner import Pruner

        return Pruner(self._configuration, self._settings.pruning, dry_run=self._settings.dry_run)

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        return Ledger(self.files.report, self.files.listener(on_image), self._memory.journal)

    def _new_check(self, _policies: RetryPolicies) -> TreeCheck | None:
        if not self._settings.verify:
            return None
        from image_syncer.coordinator.verify_tree import build_check

        return build_check(self._client, self.access.endpoints, self._settings)

    def _new_images(self) -> Images:
        client, endpoints, discovery = self._client, self.access.endpoints, self._discovery
        publisher = Publisher(client, endpoints, self._memory.children)
        parts = (client, endpoints, discovery, publisher)
        referrers = copies_of(parts, self._listings, self.ledger, dry_run=self._settings.dry_run)
        return ImageSync(
            discovery,
            self.transfers,
            publisher,
            self.ledger,
            self._settings,
            self._memory.known_blobs,
            ending=self._ending,
            watchdog=self.watchdog,
            journal=self._memory.journal,
            check=self._check,
            preparation=self.preparation,
            referrers=referrers,
            plan=self._new_plan_maker(),
            ahead=self._new_ahead(),
            policy=self._new_policy(referrers.search),
        )

    # What few runs need is imported by those.

    def _new_meter(self) -> Meter | None:
        if not self.observed:
            return None
        from image_syncer.coordinator.meter import Meter

        return Meter(self.observed, self._client)

    def _new_plan_maker(self) -> PlanMaker | None:
        if self.files.plan is None:
            return None
        from image_syncer.coordinator.plan_maker import PlanMaker

        return PlanMaker(self.files.plan, self._client, self.access.endpoints)

    def _new_ahead(self) -> AheadLooks | None:
        if not self._settings.tell_ahead:
            return None
        from image_syncer.coordinator.ahead import AheadLooks

        return AheadLooks(self._discovery, self._listings.times)

    def _new_policy(self, search: ReferrerSearch) -> PolicyGate | None:
        if not self._configuration.policies:
            return None
        from image_syncer.coordinator.policy import PolicyGate

        return PolicyGate(self._configuration.policies, search, self._listings.times, self._settings)

    def _leave_alone(self, registry: str, seconds: float) -> None:
        self.transfers.leave_alone(registry, seconds)

    def _on_outage(self, breaker: Breaker) -> None:
        text, is_given_up = self.access.tell_outage(breaker)
        if not is_given_up:  # or every image that needs it says so
            self.warnings.append(text)
        _log.info("registry down", registry=breaker.registry, since=breaker.since, message=text)

    def _waits(self, now: float) -> bool:
        """Whether something is to happen at a time that is known."""
        wake_at = self.transfers.scheduler.wake_at
        return self.access.is_awaited(now) or (wake_at is not None and wake_at > now)
