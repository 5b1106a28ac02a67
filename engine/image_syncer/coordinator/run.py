"""A run: rules in, a report out. Discovery, transfer and publishing overlap."""

from __future__ import annotations

import asyncio
import re
import resource
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import uvloop

from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.rules import END_S
from image_syncer.dispatch.ending import CrashWatch, Ending, crash_reason, crash_words, tell_crash
from image_syncer.dispatch.watchdog import guard
from image_syncer.errors import ConfigurationError, InternalError
from image_syncer.patterns import lazy_pattern
from image_syncer.telemetry import Report
from image_syncer.telemetry.processes import children_usage, own_cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from image_syncer.config import Configuration, Settings
    from image_syncer.control.run_control import RunControl
    from image_syncer.coordinator.run_parts import RunParts
    from image_syncer.dispatch.supervisor import WorkerSource


STOP_GRACE_S = 2.0
_KIB = 1024
"""`ru_maxrss` and /proc have KiB on Linux."""
_OWN_STATUS = Path("/proc/self/status")
_PEAK = lazy_pattern(rb"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
_NO_LISTENERS = Listeners()
_Result = TypeVar("_Result")


class UsageMeter:
    """Processor time and peak memory since it was made (getrusage(2)), of the coordinator and its workers.

    Workers count once they have ended, as do programs for credentials and policies.
    """

    def __init__(self) -> None:
        self._began = own_cpu_s(), children_usage()[0]

    def as_data(self) -> dict[str, float | int]:
        """Return seconds, and peaks in bytes since each process began (of the largest worker)."""
        own, (workers_cpu_s, worker_peak_bytes) = resource.getrusage(resource.RUSAGE_SELF), children_usage()
        return {
            "coordinator_cpu_s": round(own.ru_utime + own.ru_stime - self._began[0], 4),
            "workers_cpu_s": round(workers_cpu_s - self._began[1], 4),
            "coordinator_peak_bytes": _own_peak(own.ru_maxrss) * _KIB,
            "worker_peak_bytes": worker_peak_bytes,
        }


def _own_peak(known: int) -> int:
    """Return the peak of this program in KiB; `known` where /proc does not tell. `ru_maxrss` keeps the peak of the
    process that started it, whose memory a child shares until it executes something (Linux, fs/exec.c: exec_mmap).
    """
    try:
        found = _PEAK.search(_OWN_STATUS.read_bytes())
    except OSError:
        return known
    return int(found[1]) if found else known


class Run:
    """One run of a configuration, made inside its loop. `parts` decide what it does with images; see `RunParts`."""

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        listeners: Listeners = _NO_LISTENERS,
        *,
        parts: Callable[..., RunParts],
        control: RunControl | None = None,
        workers: WorkerSource | None = None,
    ) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._usage = UsageMeter()
        self._main: asyncio.Task[None] | None = None
        self.ending = Ending(on_begin=self._end_early, on_hurry=self._hurry)
        self._crashes = CrashWatch(self._on_crash)
        self._parts = parts(
            configuration,
            settings,
            listeners,
            ending=self.ending,
            crashes=self._crashes,
            control=control,
            workers=workers,
        )

    @property
    def _is_ending(self) -> bool:
        """Whether the run is to end before all is done."""
        return self.ending.name is not None or self._crashes.error is not None

    async def execute(self, *, take_signals: bool = True) -> Report:
        """Give every image of every rule an outcome, and return the report. Signals end the run early: the first
        gently, the second at once. So does an internal error, which the report names. Raises ConfigurationError where
        the rules collide, before anything is done.
        """
        parts = self._parts
        parts.observed.tell(lambda one: one.on_begin(parts.kind, time.time() - (self._loop.time() - parts.began)))
        with self.ending.signals(wanted=take_signals), self._crashes.listening(self._loop):
            watching = [self._loop.create_task(work) for work in (self._watch(), guard(parts.watchdog))]
            for task in watching:
                task.add_done_callback(tell_crash)
            self._main = self._loop.create_task(parts.rules.run())
            try:
                with self.ending.deadline(self._settings.deadline_s):
                    async with parts.control.of(parts.pause, parts.transfers, parts.watchdog, parts.snapshot):
                        await self._main
                        if not self._is_ending:
                            self._main = self._loop.create_task(parts.prune())
                            await self._main
            except asyncio.CancelledError:
                if not self._is_ending:
                    parts.abandon()
                    raise
            except ConfigurationError:
                parts.abandon()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, what was done before is reported
                self._crashes.note(error)
            finally:
                await self._wind_up(watching)
        parts.progress.report()
        report = self._report()
        parts.events.report_end(report)
        parts.observed.tell(lambda one: one.on_report(report))
        return report

    async def _wind_up(self, watching: list[asyncio.Task[None]]) -> None:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        transfers = self._parts.transfers
        try:
            await transfers.stop(STOP_GRACE_S)
            if not self._is_ending:
                await transfers.cancel_uploads()
        except Exception as error:  # noqa: BLE001 - as above
            self._crashes.note(error)
            transfers.kill()
        if self._parts.pause.turned_away:
            self.ending.drained()
        is_complete = self._main is not None and not self._main.cancelled()
        await self._parts.close("complete" if is_complete else "cancelled")

    async def _watch(self) -> None:
        parts = self._parts
        while True:
            parts.progress.report()
            parts.events.report_warnings(parts.warnings)
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
            interrupted=self.ending.name,
            warnings=(*parts.warnings, *parts.progress.warnings, *ledger.warnings()),
            internal_error=self._internal_error(),
            resumes=dict(transfers.reports.resumes),
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
        self.ending.reason = crash_reason(error)
        self._end_early()

    def _hurry(self) -> None:
        self._parts.control.hurry()
        self._parts.transfers.kill()

    def _end_early(self) -> None:
        self._parts.transfers.scheduler.stop()
        if self._main is not None:
            self._main.cancel()


def refuse_running_loop() -> None:
    """Raise RuntimeError where a loop runs in this thread."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, and asks without raising
        raise RuntimeError("an event loop is running in this thread: use the asynchronous form, such as sync_async")


def run_in_loop(work: Coroutine[None, None, _Result]) -> _Result:
    """Run `work` as `uvloop.run` does, which would wait forever for a task that ignores its cancellation. Raises
    RuntimeError where a loop runs in this thread.
    """
    try:
        refuse_running_loop()
    except RuntimeError:
        work.close()
        raise
    loop = uvloop.new_event_loop()  # not set as the loop of the thread: a program may have set its own
    try:
        return loop.run_until_complete(work)
    finally:
        try:
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left, timeout=END_S))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
