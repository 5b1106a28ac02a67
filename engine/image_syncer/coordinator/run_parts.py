"""The parts of a run, each made once with the parts that it needs."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from image_syncer.config.settings import check_form
from image_syncer.control.run_control import Pause, RunControl
from image_syncer.coordinator.context import RunContext
from image_syncer.coordinator.image_delivery import Conflicts, ImageDelivery
from image_syncer.coordinator.image_sync import ImageSync
from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.listeners import EventReporter, Progress, Snapshots, call_all
from image_syncer.coordinator.preparation import Preparation
from image_syncer.coordinator.rules import RuleRunner
from image_syncer.credentials import CredentialSource
from image_syncer.discovery.discovery import Discovery
from image_syncer.discovery.listings import Listings
from image_syncer.discovery.publisher import Publisher
from image_syncer.discovery.referrers import ReferrerSearch
from image_syncer.discovery.registry_access import RegistryAccess, UploadSessions
from image_syncer.dispatch.machine import inspect_machine, open_files
from image_syncer.dispatch.transfers import TransferContext, Transfers
from image_syncer.dispatch.watchdog import Watchdog, end_run, longest_quiet_s
from image_syncer.errors import SyncError
from image_syncer.registry.capabilities import RegistryCapabilities
from image_syncer.scheduling import decide_policies, decide_resources
from image_syncer.telemetry import Report, ReportWriter, get_logger
from image_syncer.telemetry.events import ImageEnded, ProgressMade, TransferEnded
from image_syncer.telemetry.observing import Observed
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.config import Configuration, Settings
    from image_syncer.config.policy import Policy
    from image_syncer.coordinator.image_delivery import DestinationCheck
    from image_syncer.coordinator.listeners import Listeners
    from image_syncer.coordinator.open_image import RequestedImage
    from image_syncer.coordinator.policy import PolicyGate
    from image_syncer.coordinator.rules import Images
    from image_syncer.dispatch.ending import CrashWatch, Ending
    from image_syncer.dispatch.meter import Meter
    from image_syncer.dispatch.supervisor import WorkerSource
    from image_syncer.journal.journal import Journal
    from image_syncer.net import RegistryClient
    from image_syncer.reporting.plan_file import PlanWriter
    from image_syncer.scheduling import Breaker, KnownBlobs, Resources, RetryPolicies
    from image_syncer.telemetry import ImageResult, Snapshot, TransferRecord
    from image_syncer.telemetry.report import Pruned


CHILDREN_IN_MEMORY = 100_000
"""Manifests that indexes name and that were put; some 13 MB."""

_log = get_logger(__name__)


class RunMemory:
    """What a run remembers of registries, from earlier runs and for later ones if `settings` name a journal.

    Raises the errors of the journal. Blobs are remembered in bounded memory, and past that in temporary files.
    """

    def __init__(self, settings: Settings) -> None:
        self.blobs = BoundedKnownBlobs(settings.blobs_in_memory)
        """The blobs of this run."""
        self.children = BoundedKnownBlobs(min(settings.blobs_in_memory, CHILDREN_IN_MEMORY))
        """Manifests that indexes name and that were put."""
        self.known_blobs: KnownBlobs = self.blobs
        """The blobs that destinations have, those of earlier runs included."""
        self.sessions, self.capabilities = UploadSessions(), RegistryCapabilities()
        self.journal: Journal | None = None
        if settings.state_path is not None:
            from image_syncer.journal.journal import journal_of
            from image_syncer.journal.known_blobs import JournaledKnownBlobs

            self.journal = journal = journal_of(settings, settings.state_path)
            self.known_blobs = JournaledKnownBlobs(self.blobs, journal)
            self.sessions = UploadSessions(journal.sessions(), journal.note_session)
            self.capabilities = RegistryCapabilities(journal.capabilities(), journal.note_capability)


def report_settings(settings: Settings, resources: Resources, policies: Sequence[Policy] = ()) -> dict[str, Any]:
    """Return the settings of the report: enough to do again what was left undone (`retry --report`)."""
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


class RunFiles:
    """The files that a run writes: its report, and the plan of a dry run. Each is complete at the end, or missing.

    Raises ConfigurationError where one cannot be made.
    """

    def __init__(self, settings: Settings) -> None:
        self.report: ReportWriter | None = None
        self.plan: PlanWriter | None = None
        try:
            if settings.report_path:
                self.report = ReportWriter(settings.report_path)
            if settings.plan_path:
                from image_syncer.reporting.plan_file import PlanWriter

                self.plan = PlanWriter(settings.plan_path)
        except SyncError:
            self.abandon()
            raise

    @property
    def on_image(self) -> Callable[[ImageResult], None] | None:
        """The listener that writes images to the plan."""
        return None if self.plan is None else self.plan.add

    @property
    def on_transfer(self) -> Callable[[TransferRecord], None] | None:
        """The listener that writes transfers to the report."""
        return None if self.report is None else self.report.add_transfer

    def close(self, report: Report) -> Report:
        """Complete the files; return the report, which names a file that could not be written."""
        failures = []
        for file in (self.report, self.plan):
            try:
                if file is not None:
                    file.close(report)
            except SyncError as error:  # noqa: PERF203 - the copies are done, and the report must say so
                failures.append(str(error))
        return replace(report, unwritten="; ".join(failures)) if failures else report

    def abandon(self) -> None:
        """Remove the files."""
        for file in (self.report, self.plan):
            if file is not None:
                file.abandon()


class RunPruner(Protocol):
    """Prunes after a run; `pruning.pruner.Pruner` is one."""

    @property
    def pruned(self) -> Pruned:
        """What was deleted, or would be."""

    def note_image(self, result: ImageResult) -> None:
        """Note an image that has ended."""

    def select(self, planned: RequestedImage) -> None:
        """Note an image that a rule selects."""

    async def run(self, context: RunContext) -> None:
        """Prune, once every image has its outcome."""


class RunParts:
    """The parts of a run. `SyncParts`, `VerifyParts` and `PruneParts` make some of them differently.

    `ending` ends the run before all is done, `crashes` takes internal errors, `workers` is the source of workers (None:
    processes of this machine). Raises ConfigurationError where the run cannot begin.
    """

    kind = "sync"
    """The kind of run in the report."""

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
        self.files = self._open_files()
        self.events = events = EventReporter(listeners.on_event, on_failure=crashes.note)
        self.control = control or RunControl()
        self.pause = Pause()
        self.pruner = self._new_pruner()
        self.ledger = self._new_ledger(
            call_all(
                None if self.pruner is None else self.pruner.note_image,
                events.maker(ImageEnded),
                self.control.note_image,
                self.observed.before(lambda one, result: one.on_image(result), listeners.on_image),
            )
        )
        self._source = CredentialSource(os.environ)
        policies = decide_policies(settings)
        self.access = access = self._new_access(policies)
        events.listen(access.health.breakers)
        self.watchdog = Watchdog(
            longest_quiet_s(settings, policies, request_s=access.timeouts.request_s),
            on_hopeless=end_run(ending),
            excuse=self._waits,
            holds_back=access.holds_back,
        )
        self._context = context = self._new_context()
        self.transfers = context.transfers
        self.preparation = Preparation(context, access)
        self._check = self._new_check(context, policies)
        images = self._new_images(context, self._check)
        on_begin = None if self.pruner is None else self.pruner.select
        self.rules = RuleRunner(context, configuration, images, access.health, self.pause, on_begin)
        self._snapshots = Snapshots(context, access, self.rules, self.control, self.pause, self.began)
        on_progress = call_all(
            events.maker(ProgressMade),
            self.observed.before(lambda one, snapshot: one.on_progress(snapshot), listeners.on_progress),
        )
        self.progress = Progress(self.snapshot, on_progress, self._memory.journal)

    def snapshot(self, now: float) -> Snapshot:
        """Return the progress of the run at loop time `now`."""
        return self._snapshots.take(now)

    def settings_data(self) -> dict[str, Any]:
        """Return the settings of the report."""
        return report_settings(self._settings, self._resources, self._configuration.policies)

    async def prune(self) -> None:
        """Prune, if the run is to."""
        if self.pruner is not None and await self.pause.may_begin():
            await self.pruner.run(self._context)

    def abandon(self) -> None:
        """Remove the files, and tell the observers that there is no report."""
        self.files.abandon()
        self.observed.abandon()

    async def close(self, how: str) -> None:
        """Close all parts. `how` is the end of the run for the journal, unless it was ended or crashed."""
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
        journal = self._memory.journal
        if journal is None:
            return
        self.progress.note_end("crashed" if self._crashes.error is not None else self._ending.name or how)
        journal.close()
        self.warnings += journal.warnings  # the report has them

    def _open_files(self) -> RunFiles:
        try:
            return RunFiles(self._settings)
        except SyncError:
            if self._memory.journal is not None:
                self._memory.journal.close()
            raise

    def _new_access(self, policies: RetryPolicies) -> RegistryAccess:
        if (text := open_files(self._resources)) is not None:
            self.warnings.append(text)
        return RegistryAccess(
            self._settings,
            self._configuration.registries,
            self._source,
            policies,
            connections=self._resources.connections,
            on_pause=self._on_pause,
            on_outage=self._on_outage,
        )

    def _new_context(self) -> RunContext:
        settings, registries, memory = self._settings, self._configuration.registries, self._memory
        client, endpoints = self.access.client, self.access.endpoints
        discovery = Discovery(client, endpoints, memory.capabilities, registries, settings)
        transfers = Transfers(
            TransferContext(
                client,
                endpoints,
                registries,
                self._resources,
                settings,
                self.watchdog,
                memory.known_blobs,
                memory.sessions,
                memory.capabilities,
                self.access.health.breakers,
                discovery.mirrors,
                self.began,
            ),
            on_transfer=call_all(self.events.maker(TransferEnded), self.files.on_transfer),
            meter=self._new_meter(client),
            workers=self._workers,
        )
        return RunContext(
            settings=settings,
            client=client,
            endpoints=endpoints,
            discovery=discovery,
            publisher=Publisher(client, endpoints, memory.children),
            listings=Listings(client, endpoints, self.access.own_api),
            transfers=transfers,
            ledger=self.ledger,
            known_blobs=memory.known_blobs,
            journal=memory.journal,
            watchdog=self.watchdog,
            ending=self._ending,
        )

    def _new_pruner(self) -> RunPruner | None:
        """Return the part that prunes after all images; None for a run that does not."""
        return None

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        return Ledger(self.files.report, call_all(self.files.on_image, on_image), self._memory.journal)

    def _new_check(self, _context: RunContext, _policies: RetryPolicies) -> DestinationCheck | None:
        """Return the part that compares destinations with what was pushed; None for a run that does not."""
        return None

    def _new_images(self, context: RunContext, check: DestinationCheck | None) -> Images:
        began = datetime.now(timezone.utc)
        conflicts = Conflicts(context.settings.on_conflict, context.discovery, context.publisher, began)
        search = ReferrerSearch(context.discovery, context.listings)
        delivery, policy = self._new_delivery(context, conflicts, check), self._new_policy(context, search)
        return ImageSync(context, delivery, conflicts, self.preparation, search, policy)

    # What few runs need is imported by those.

    def _new_meter(self, client: RegistryClient) -> Meter | None:
        if not self.observed:
            return None
        from image_syncer.dispatch.meter import Meter

        return Meter(self.observed, client)

    def _new_delivery(self, context: RunContext, conflicts: Conflicts, check: DestinationCheck | None) -> ImageDelivery:
        plan = ahead = None
        if self.files.plan is not None:
            from image_syncer.coordinator.dry_run import PlanMaker

            plan = PlanMaker(self.files.plan, context.discovery)
        if context.settings.tell_ahead:
            from image_syncer.coordinator.dry_run import AheadLooks

            ahead = AheadLooks(context.discovery, context.listings.times)
        return ImageDelivery(context, conflicts, self.preparation, check=check, plan=plan, ahead=ahead)

    def _new_policy(self, context: RunContext, search: ReferrerSearch) -> PolicyGate | None:
        if not self._configuration.policies:
            return None
        from image_syncer.coordinator.policy import PolicyGate

        return PolicyGate(self._configuration.policies, search, context.listings.times, context.settings)

    def _on_pause(self, registry: str, seconds: float) -> None:
        self.transfers.pacing.leave_alone(registry, seconds)

    def _on_outage(self, breaker: Breaker) -> None:
        text, is_given_up = self.access.tell_outage(breaker)
        if not is_given_up:  # or every image that needs it says so
            self.warnings.append(text)
        _log.info("registry down", registry=breaker.registry, since=breaker.since, message=text)

    def _waits(self, now: float) -> bool:
        """Return whether something is due at a time that is known."""
        wake_at = self.transfers.scheduler.wake_at
        return self.access.is_awaited(now) or (wake_at is not None and wake_at > now)
