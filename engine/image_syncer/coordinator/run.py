"""A run: rules in, a report out. Discovery, transfer and publishing overlap; memory is bounded by the images under
way.

What a run took of the machine (getrusage(2)): processor time and peak memory, of the coordinator and its workers.
"""

from __future__ import annotations

import asyncio
import re
import resource
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.coordinator.crash import CrashWatch, crash_reason, crash_words, tell_crash
from image_syncer.coordinator.ending import Ending
from image_syncer.coordinator.guard import guard
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run_parts import RunParts
from image_syncer.errors import ConfigurationError, InternalError
from image_syncer.telemetry import Report
from image_syncer.telemetry.processes import children_usage, own_cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.control import RunControl
    from image_syncer.coordinator.worker_source import WorkerSource

__all__ = ["Run", "UsageMeter"]


_PAGE_UNIT = 1024
"""`ru_maxrss`, and what /proc says, are in KiB on Linux."""
_OWN_STATUS = Path("/proc/self/status")
_PEAK = re.compile(rb"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


class UsageMeter:
    """Begins to count when it is made. Workers count when they have ended; programs that we ran for credentials or a
    policy count with them.
    """

    def __init__(self) -> None:
        self._began = own_cpu_s(), children_usage()[0]

    def as_data(self) -> dict[str, float | int]:
        """Seconds since then, and peaks in bytes since each process began (of the largest worker)."""
        own, (workers_cpu_s, worker_peak_bytes) = resource.getrusage(resource.RUSAGE_SELF), children_usage()
        return {
            "coordinator_cpu_s": round(own.ru_utime + own.ru_stime - self._began[0], 4),
            "workers_cpu_s": round(workers_cpu_s - self._began[1], 4),
            "coordinator_peak_bytes": _own_peak(own.ru_maxrss) * _PAGE_UNIT,
            "worker_peak_bytes": worker_peak_bytes,
        }


def _own_peak(known: int) -> int:
    """The peak of this program: `ru_maxrss` keeps that of the process by which it was started (a Java agent of a
    pipeline, with gigabytes), whose memory a child shares until it executes something (Linux, fs/exec.c: exec_mmap).
    """
    try:
        found = _PEAK.search(_OWN_STATUS.read_bytes())
    except OSError:
        return known
    return int(found[1]) if found else known


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
        an internal error, which the report tells. Raises ConfigurationError where the rules turn out to collide before
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
