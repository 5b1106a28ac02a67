"""What was planned beside what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer_cli.timeline_words import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer import EstimateFile, PlanFile, Report

__all__ = ["forecast_rows"]

_NOT_PLANNED = frozenset({"get token", "list tags", "list repositories", "ping"})
"""Requests that a plan does not count: they depend on the files and on logins, not on images."""


def forecast_rows(
    report: Report, plan: PlanFile | None, estimate: EstimateFile | None
) -> list[tuple[str, str, str, str]]:
    """What, planned, done and difference, in words."""
    return [*(_planned(report, plan) if plan is not None else ()), *(_estimated(report, estimate) if estimate else ())]


def _planned(report: Report, plan: PlanFile) -> list[tuple[str, str, str, str]]:
    from image_syncer import Outcome, account_for
    from image_syncer.units import format_size

    account, totals = account_for(plan), report.totals
    rows = [
        _row("images to copy", account.images, totals.outcomes.get(Outcome.COPIED, 0), "{:,.0f}".format),
        _row("bytes to move", account.bytes_to_move, totals.bytes_moved, format_size),
        _row("blobs to move", account.blobs_to_move, totals.blobs_moved, "{:,.0f}".format),
        _row("blobs to mount", account.blobs_to_mount, totals.blobs_mounted, "{:,.0f}".format),
    ]
    kinds = sorted((set(account.requests) | set(totals.requests)) - _NOT_PLANNED)
    done = {kind: totals.requests.get(kind, 0) for kind in kinds}
    rows.append(
        _row("requests", sum(account.requests.get(kind, 0) for kind in kinds), sum(done.values()), "{:,.0f}".format)
    )
    rows += [_row(f"  {kind}", account.requests.get(kind, 0), done[kind], "{:,.0f}".format) for kind in kinds[:20]]
    return rows


def _estimated(report: Report, estimate: EstimateFile) -> Iterator[tuple[str, str, str, str]]:
    from image_syncer.units import format_duration, format_size

    yield _row("time", estimate.seconds, report.seconds, format_duration)
    kept = "kept" if report.seconds <= estimate.p90_s else "not kept"
    yield "time, nine of ten within", format_duration(estimate.p90_s), format_duration(report.seconds), kept
    usage = report.usage
    names = ("coordinator_cpu_s", "workers_cpu_s")
    if all(name in usage for name in names):
        yield _row("processor time", estimate.cpu_s, sum(usage[name] for name in names), format_duration)
    workers = report.settings.get("workers")
    if isinstance(workers, int) and "coordinator_peak_bytes" in usage and "worker_peak_bytes" in usage:
        most = usage["coordinator_peak_bytes"] + workers * usage["worker_peak_bytes"]
        yield _row("memory, at most", estimate.memory_bytes, most, format_size)


def _row(what: str, planned: float, done: float, tell: Callable[[float], str]) -> tuple[str, str, str, str]:
    if planned == done:
        return what, tell(planned), tell(done), "as planned"
    sign = "+" if done > planned else "−"
    share = f" ({percent(abs(done - planned) / planned)})" if planned else ""
    return what, tell(planned), tell(done), f"{sign}{tell(abs(done - planned))}{share}"
