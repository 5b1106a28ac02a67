"""How a watch stands, for `/healthz`, for systemd and for logs."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from image_syncer.units import format_duration

if TYPE_CHECKING:
    from image_syncer.telemetry import Report

__all__ = ["State", "WatchStatus"]


class State(str, Enum):
    """What a watch does at the moment."""

    STARTING = "starting"
    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"

    def __str__(self) -> str:
        return self.value


class WatchStatus(Struct):
    """Kept by the watcher, read by others. Times are seconds of the epoch."""

    started_at: float
    state: State = State.STARTING
    rounds: int = 0
    """Runs that have begun."""
    next_at: float | None = None
    """When the next round is due by the schedule."""
    configuration_read_at: float | None = None
    """When the files were read that are in force."""
    configuration_error: str | None = None
    """Why the files that were read last are not in force; None: they are."""
    last: dict[str, Any] = field(default_factory=dict)
    """Of the last run that has ended."""
    last_success_at: float | None = None
    left_alone: int = 0
    """Repositories that the last round by the schedule left alone."""
    turned_at: float | None = None
    """When the loop of the runs turned the last time, by the monotonic clock; None: nobody noted it."""
    left_out: int = 0
    """Times of the schedule that passed while a run was under way."""

    def note_report(self, report: Report, now: float, *, cause: str) -> None:
        """A run has ended."""
        self.last = {
            "cause": cause,
            "ended_at": _iso(now),
            "seconds": round(report.seconds, 3),
            "exit_code": report.exit_code,
            "outcomes": {outcome.value: count for outcome, count in report.totals.outcomes.items()},
        }
        if report.exit_code == 0:
            self.last_success_at = now

    def note_refused(self, reason: str, now: float, *, cause: str) -> None:
        """A run could not begin."""
        self.last = {"cause": cause, "ended_at": _iso(now), "exit_code": 2, "error": reason}

    def stuck_s(self, now: float) -> float:
        """For how long the loop of the runs has not turned; `now` is the monotonic clock's."""
        return 0.0 if self.turned_at is None else now - self.turned_at

    def as_data(self, *, details: bool) -> dict[str, Any]:
        """For `/healthz`. Without `details` nothing is in it that names files, registries or images."""
        last = self.last if details else {name: value for name, value in self.last.items() if name != "error"}
        stale = self.configuration_error is not None
        return {
            "status": "stale configuration" if stale else "ok",
            "state": self.state.value,
            "started_at": _iso(self.started_at),
            "rounds": self.rounds,
            "next_at": _iso(self.next_at),
            "repositories_left_alone": self.left_alone,
            "configuration": {
                "read_at": _iso(self.configuration_read_at),
                "in_force": not stale,
                "error": self.configuration_error if details else None,
            },
            "last_run": last or None,
            "last_success_at": _iso(self.last_success_at),
        }

    def sentence(self, now: float) -> str:
        """For `systemctl status`."""
        parts = [self.state.value]
        if self.state is State.WAITING and self.next_at is not None:
            parts[0] += f", next round in {format_duration(max(0.0, self.next_at - now))}"
        if self.last:
            parts.append(f"last run ended with exit code {self.last['exit_code']}")
        if self.configuration_error is not None:
            parts.append("the files on disk have mistakes, and are not in force")
        return "; ".join(parts)


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
