"""What is shown of a watch while no round of it is under way: pure, from what its socket tells (`WatchStatus`)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["watch_lines"]


def watch_lines(told: Mapping[str, Any], now: datetime) -> list[str]:
    """Sentences, as of the time `now`, which has a zone. Raises SyncError where `told` is not what a watch tells."""
    try:
        return _lines(told, now)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        from image_syncer import SyncError

        raise SyncError("the watch tells how it goes in a way that this version cannot read") from error


def _lines(told: Mapping[str, Any], now: datetime) -> list[str]:
    watch = told["watch"]
    lines = [_head(watch, told, now)]
    if last := watch.get("last_run"):
        lines.append(_last(last, watch["rounds"], now))
    if told.get("paused"):
        lines.append("paused: the next round begins, and copies nothing until somebody lets it go on")
    if not watch["configuration"]["in_force"]:
        lines.append("the files on disk have mistakes; those that were read before are in force")
    return lines


def _head(watch: Mapping[str, Any], told: Mapping[str, Any], now: datetime) -> str:
    from image_syncer.units import format_duration

    if told.get("draining"):
        return "watch: drains, and ends"
    if watch["state"] != "waiting" or watch["next_at"] is None:
        return f"watch: {watch['state']}"
    due = datetime.fromisoformat(watch["next_at"])
    left = max(0.0, (due - now).total_seconds())
    return f"watch: the next round is due in {format_duration(left)}, at {_time(due, now)}"


def _last(last: Mapping[str, Any], rounds: int, now: datetime) -> str:
    from image_syncer.units import format_duration

    count = f"{rounds:,} round{'' if rounds == 1 else 's'} so far"
    ended = _time(datetime.fromisoformat(last["ended_at"]), now)
    if "error" in last:
        return f"{count}; the last one could not begin at {ended}: {last['error']}"
    outcomes = ", ".join(f"{number:,} {name}" for name, number in last["outcomes"].items() if number) or "no images"
    took, code = format_duration(float(last["seconds"])), last["exit_code"]
    failed = f", exit code {code}" if code else ""
    return f"{count}; the last one ({last['cause']}) ended at {ended} after {took}: {outcomes}{failed}"


def _time(at: datetime, now: datetime) -> str:
    local = at.astimezone(now.tzinfo)
    return local.strftime("%H:%M:%S") if local.date() == now.date() else local.strftime("%Y-%m-%d %H:%M:%S")
