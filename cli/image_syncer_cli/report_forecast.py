"""What was planned beside what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer_cli.timeline_words import percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer import PlanFile, Report

__all__ = ["forecast_rows"]

_NOT_PLANNED = frozenset({"get token", "list tags", "list repositories", "ping"})
"""Requests that a plan does not count: they depend on the files and on logins, not on images."""


def forecast_rows(report: Report, plan: PlanFile, seconds: float | None = None) -> list[tuple[str, str, str, str]]:
    """What, planned, done and difference, in words. `seconds` is how long it was estimated to take, where it was."""
    from image_syncer import Outcome, account_for
    from image_syncer.units import format_duration, format_size

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
    if seconds is not None:
        rows.append(_row("time", seconds, report.seconds, format_duration))
    return rows


def _row(what: str, planned: float, done: float, tell: Callable[[float], str]) -> tuple[str, str, str, str]:
    if planned == done:
        return what, tell(planned), tell(done), "as planned"
    sign = "+" if done > planned else "−"
    share = f" ({percent(abs(done - planned) / planned)})" if planned else ""
    return what, tell(planned), tell(done), f"{sign}{tell(abs(done - planned))}{share}"
