"""What processes take of the machine, as proc(5) tells it: processor time and resident memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WorkerTime", "own_cpu_s", "resident_bytes"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME = 11, 12
"""Places in /proc/PID/stat, after the name of the program, which may have blanks and brackets in it."""


def own_cpu_s() -> float:
    """Processor time of this process, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes(pids: Iterable[int | str]) -> int:
    """Resident memory of processes together; "self" is this one, and one that is gone has none."""
    return sum(_resident(pid) for pid in pids)


class WorkerTime:
    """Processor time of workers: of those that run, and of all children that have ended; never less than it was."""

    def __init__(self) -> None:
        self._most = 0.0

    def cpu_s(self, pids: Iterable[int]) -> float:
        """In seconds, with those that run now."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._most = max(self._most, ended.ru_utime + ended.ru_stime + sum(_cpu_s(pid) for pid in pids))
        return self._most


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S
    except (OSError, IndexError, ValueError):
        return 0.0


def _resident(pid: int | str) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
