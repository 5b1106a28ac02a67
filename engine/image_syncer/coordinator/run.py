"""A run: rules in, a report out. Discovery, transfer and publishing overlap; memory is bounded by the images under
way.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from image_syncer.coordinator.crash import CrashWatch, crash_reason, crash_words, tell_crash
from image_syncer.coordinator.ending import Ending
from image_syncer.coordinator.guard import guard
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run_parts import RunParts
from image_syncer.coordinator.usage import UsageMeter
from image_syncer.errors import ConfigurationError, InternalError
from image_syncer.telemetry import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.control import RunControl
    from image_syncer.coordinator.worker_source import WorkerSource

__all__ = ["Run"]

STOP_GRACE_S = 2.0

_NOBODY = Listeners()


class Run:
    """One run of a configuration; `execute` returns the report. What it does with images is decided by its `parts`:
    they are copied, or whatever else there are parts for. For `workers` see `RunParts`. Must be made inside a loop.
    """

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        listeners: Listeners = _NOBODY,
        *,
        parts: Callable[..., RunParts] = RunParts,
        control: RunControl | None = None,
        workers: WorkerSource | None = None,
    ) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._usage = UsageMeter()
        self._main: asyncio.Task[None] | None = None
        self._ending = Ending(on_begin=self._end_early, on_hurry=self._hurry)
        self._crashes = CrashWatch(self._on_crash)
        self._parts = parts(
            configuration,
            settings,
            listeners,
            ending=self._ending,
            crashes=self._crashes,
            control=control,
            workers=workers,
        )

    @property
    def ending(self) -> Ending:
        """By which others end it before all is done."""
        return self._ending

    async def execute(self, *, take_signals: bool = True) -> Report:
        """Bring every image of every rule to an outcome. Signals end the run early: once gently, twice at once. So does
        a mistake of ours, which the report tells. Raises ConfigurationError where the rules turn out to collide before
        anything is done.
        """
        parts = self._parts
        parts.observed.tell(lambda one: one.on_begin(parts.kind, time.time() - (self._loop.time() - parts.began)))
        with self._ending.signals(wanted=take_signals), self._crashes.listening(self._loop):
            watching = self._loop.create_task(self._watch())
            watching.add_done_callback(tell_crash)
            guarding = self._loop.create_task(guard(parts.watchdog))
            guarding.add_done_callback(tell_crash)
            self._main = self._loop.create_task(self._work())
            try:
                with self._ending.deadline(self._settings.deadline_s):
                    async with parts.control.of(parts.pause, parts.transfers, parts.watchdog, parts.snapshot):
                        await self._main
            except asyncio.CancelledError:
                if self._ending.name is None and self._crashes.error is None:
                    parts.files.abandon()
                    parts.observed.abandon()
                    raise
            except ConfigurationError:
                parts.files.abandon()
                parts.observed.abandon()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, what was done until then is reported
                self._crashes.note(error)
            finally:
                await self._wind_up(watching, guarding)
        parts.progress.tell()
        report = self._report()
        parts.events.tell_end(report)
        parts.observed.tell(lambda one: one.on_report(report))
        return report

    async def _work(self) -> None:
        await self._parts.rules.run()
        await self._parts.prune()

    async def _wind_up(self, *watching: asyncio.Task[None]) -> None:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        transfers = self._parts.transfers
        try:
            await transfers.stop(STOP_GRACE_S)
            if self._ending.name is None and self._crashes.error is None:
                await transfers.cancel_uploads()
        except Exception as error:  # noqa: BLE001 - as above
            self._crashes.note(error)
            transfers.kill()
        if self._parts.pause.turned_away:
            self._ending.drained()
        is_complete = self._main is not None and not self._main.cancelled()
        await self._parts.close("complete" if is_complete else "cancelled")

    async def _watch(self) -> None:
        parts = self._parts
        while True:
            parts.progress.tell()
            parts.events.tell_warnings(parts.warnings)
            parts.transfers.pacing.sample()
            parts.transfers.tell_measures()
            await asyncio.sleep(self._settings.progress_interval_s)

    def _report(self) -> Report:
        parts, ledger, transfers = self._parts, self._parts.ledger, self._parts.transfers
        totals = ledger.totals
        totals.add_requests(parts.access.transport.requests)
        totals.add_requests(transfers.reports.requests)
        transfers.pacing.sample()
        transfers.tell_measures()
        report = Report(
            settings=parts.settings_data(),
            totals=totals,
            started_at=self._started_at,
            seconds=self._loop.time() - parts.began,
            failures=tuple(ledger.failures),
            interrupted=self._ending.name,
            warnings=(*parts.warnings, *parts.progress.warnings, *ledger.warnings()),
            internal_error=self._internal_error(),
            resumes=transfers.reports.resumes.as_data(),
            limits=transfers.pacing.log.as_data(),
            mirrors=transfers.mirrors.as_data(),
            kind=parts.kind,
            created=tuple(parts.preparation.created),
            usage=self._usage.as_data(),
            pruned=None if parts.pruner is None else parts.pruner.pruned,
        )
        return parts.files.close(report)

    def _internal_error(self) -> str | None:
        if self._crashes.error is not None:
            return crash_words(self._crashes.error)
        try:
            self._parts.ledger.check()
        except InternalError as error:
            return str(error)
        return None

    def _on_crash(self, error: Exception) -> None:
        self._ending.reason = crash_reason(error)
        self._end_early()

    def _hurry(self) -> None:
        self._parts.control.hurry()
        self._parts.transfers.kill()

    def _end_early(self) -> None:
        self._parts.transfers.scheduler.stop()
        if self._main is not None:
            self._main.cancel()
