"""What processes take of the machine, as proc(5) tells it: processor time and resident memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ForkedUsage", "WorkerTime", "children_usage", "own_cpu_s", "resident_bytes"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PEAK_UNIT = 1024
"""`ru_maxrss` is in KiB on Linux."""
_UTIME, _STIME = 11, 12
"""Places in /proc/PID/stat, after the name of the program, which may have blanks and brackets in it."""


def own_cpu_s() -> float:
    """Processor time of this process, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes(pids: Iterable[int | str]) -> int:
    """Resident memory of processes together; "self" is this one, and one that is gone has none."""
    return sum(_resident(pid) for pid in pids)


class ForkedUsage:
    """What children of one child took, of which getrusage(2) knows nothing before that child has ended too."""

    _known: ClassVar[set[ForkedUsage]] = set()

    def __init__(self) -> None:
        self.cpu_s, self.peak_bytes = 0.0, 0

    def note(self, cpu_s: float, peak_bytes: int) -> None:
        """So much CPU time in all, and the peak of the largest."""
        self.cpu_s, self.peak_bytes = cpu_s, peak_bytes
        self._known.add(self)

    def forget(self) -> None:
        """The child has ended: from now on getrusage(2) has it."""
        self._known.discard(self)

    @classmethod
    def total(cls) -> tuple[float, int]:
        """CPU seconds of all of them, and the peak of the largest in bytes."""
        return sum(one.cpu_s for one in cls._known), max((one.peak_bytes for one in cls._known), default=0)


def children_usage() -> tuple[float, int]:
    """CPU seconds of all children that have ended, with those of a zygote, and the peak of the largest in bytes."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, peak_bytes = ForkedUsage.total()
    return ended.ru_utime + ended.ru_stime + cpu_s, max(ended.ru_maxrss * _PEAK_UNIT, peak_bytes)


class WorkerTime:
    """Processor time of workers: of those that run, and of all children that have ended; never less than it was."""

    def __init__(self) -> None:
        self._most = 0.0

    def cpu_s(self, pids: Iterable[int]) -> float:
        """In seconds, with those that run now."""
        self._most = max(self._most, children_usage()[0] + sum(_cpu_s(pid) for pid in pids))
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
