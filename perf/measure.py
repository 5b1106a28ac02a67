"""Runs one command and says what it cost: wall time, CPU, memory, context switches, requests, waits of the ring."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perf.errors import Mistake
from perf.processes import ProcessPeak, Watcher, session_members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Measurement", "read_report", "run_measured"]

_LAST_WORDS = 2000
_UNSEEN_SHARE = 0.1
"""wait4(2) counts only processes that were waited for. Where /proc saw so much more, some were not."""
_UNSEEN_S = 0.2


@dataclass
class Measurement:
    """One run of one tool. CPU is that of all processes of the command, servers not counted."""

    wall_s: float
    cpu_s: float
    switches: int
    processes: list[ProcessPeak]
    requests: dict[str, int] = field(default_factory=dict)
    """By kind, as the tool's report says them; empty where it has none."""
    arrived: dict[str, int] = field(default_factory=dict)
    """What the destinations counted, by kind."""
    waits: dict[str, float] = field(default_factory=dict)
    """Seconds for which transfers waited for source and destination, and transfers' own seconds, from the report."""
    notes: list[str] = field(default_factory=list)

    @property
    def peaks(self) -> dict[str, int]:
        """The largest process of each role, in bytes."""
        peaks: dict[str, int] = {}
        for process in self.processes:
            peaks[process.role] = max(peaks.get(process.role, 0), process.peak_memory_bytes)
        return peaks

    def as_data(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "wall_s": round(self.wall_s, 4),
            "cpu_s": round(self.cpu_s, 4),
            "context_switches": self.switches,
            "peak_memory_bytes": self.peaks,
            "processes": [[process.role, process.peak_memory_bytes, process.cpu_s] for process in self.processes[:64]],
            "requests": self.requests,
            "arrived": self.arrived,
            "waits": self.waits,
            "notes": self.notes,
        }


def run_measured(
    command: list[str], *, environment: Mapping[str, str], output: Path, limit_s: float, name: str
) -> Measurement:
    """Run `command` to its end, in a session of its own; what it prints goes to the file `output`.

    What it leaves behind in that session is ended. Raises Mistake where it fails, or has not ended after `limit_s`
    seconds.
    """
    with output.open("wb") as sink:
        began = time.monotonic()
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            raise Mistake(f"{name}: cannot start {command[0]}: {error.strerror}") from error
        watcher = Watcher(child.pid)
        try:
            status, usage, timed_out = _wait(child.pid, began + limit_s)
            wall = time.monotonic() - began
        except BaseException:
            _end_session(child.pid)
            child.wait()
            raise
        finally:
            processes = watcher.stop()
    child.returncode = os.waitstatus_to_exitcode(status)
    _end_session(child.pid)
    if child.returncode or timed_out:
        how = f"has not ended after {limit_s:g} s" if timed_out else f"failed with exit code {child.returncode}"
        words = output.read_text(errors="replace")[-_LAST_WORDS:].strip()
        raise Mistake(f"{name} {how}. Its last words:\n{words or '(none)'}")
    measured = Measurement(wall, usage.ru_utime + usage.ru_stime, usage.ru_nvcsw + usage.ru_nivcsw, processes=processes)
    seen = sum(process.cpu_s for process in processes)
    if seen > measured.cpu_s * (1 + _UNSEEN_SHARE) + _UNSEEN_S:
        measured.notes.append(f"/proc saw {seen:.2f} s of CPU, wait4 {measured.cpu_s:.2f} s: the larger one counts")
        measured.cpu_s = seen
    return measured


def _wait(pid: int, deadline: float) -> tuple[int, Any, bool]:
    """wait4(2) with an end: the command is killed at `deadline` of the monotonic clock."""
    descriptor = os.pidfd_open(pid)
    try:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
    finally:
        os.close(descriptor)
    if not readable:
        _end_session(pid)
    _, status, usage = os.wait4(pid, 0)
    return status, usage, not readable


def _end_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    for member in session_members(pid):  # in groups of their own
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def read_report(path: Path, measured: Measurement) -> dict[str, Any]:
    """Take requests and waits out of image-syncer's report, whatever revision wrote it; empty where there is none."""
    try:
        report: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    totals = report.get("totals")
    if isinstance(totals, dict) and isinstance(totals.get("requests"), dict):
        measured.requests = {str(kind): int(count) for kind, count in totals["requests"].items()}
    transfers = report.get("transfers")
    if isinstance(transfers, list) and transfers:
        rows = [row for row in transfers if isinstance(row, dict)]
        measured.waits = {
            "source_waited_s": _sum(rows, "source_waited_s"),
            "destination_waited_s": _sum(rows, "destination_waited_s"),
            "transfers_s": sum(_seconds(row) for row in rows),
        }
    return report


def _sum(rows: list[dict[str, Any]], key: str) -> float:
    total = 0.0
    for row in rows:
        value = row.get(key)
        if isinstance(value, int | float):
            total += value
        elif isinstance(value, list):  # one for each destination
            total += sum(part for part in value if isinstance(part, int | float))
    return round(total, 3)


def _seconds(row: dict[str, Any]) -> float:
    if isinstance(row.get("seconds"), int | float):
        return float(row["seconds"])
    begin, end = row.get("began_s"), row.get("ended_s")
    return float(end) - float(begin) if isinstance(begin, int | float) and isinstance(end, int | float) else 0.0
