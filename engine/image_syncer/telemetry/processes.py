"""Processor time and resident memory of processes, from getrusage(2) and proc(5)."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PEAK_UNIT = 1024
"""`ru_maxrss` is in KiB on Linux."""
_UTIME, _STIME = 11, 12
"""Fields of /proc/PID/stat after the name of the program, which may contain blanks and brackets."""


def own_cpu_s() -> float:
    """Return the processor time of this process in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes(pids: Iterable[int | str]) -> int:
    """Return the resident memory of processes together; "self" is this one, and one that has ended has none."""
    size = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            size += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    return size


class ForkedUsage:
    """The usage of the children of one child, which getrusage(2) reports only after that child has ended."""

    _known: ClassVar[set[ForkedUsage]] = set()

    def __init__(self) -> None:
        self.cpu_s, self.peak_bytes = 0.0, 0

    def note(self, cpu_s: float, peak_bytes: int) -> None:
        """Note their CPU time in all, and the peak memory of the largest."""
        self.cpu_s, self.peak_bytes = cpu_s, peak_bytes
        self._known.add(self)

    def forget(self) -> None:
        """Drop a child that has ended: getrusage(2) reports it now."""
        self._known.discard(self)

    @classmethod
    def total(cls) -> tuple[float, int]:
        """Return the CPU seconds of all, and the peak of the largest in bytes."""
        return sum(one.cpu_s for one in cls._known), max((one.peak_bytes for one in cls._known), default=0)


def children_usage() -> tuple[float, int]:
    """Return the CPU seconds of all ended children, a zygote's too, and the peak of the largest in bytes."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s, peak_bytes = ForkedUsage.total()
    return ended.ru_utime + ended.ru_stime + cpu_s, max(ended.ru_maxrss * _PEAK_UNIT, peak_bytes)


class WorkerTime:
    """Processor time of workers, running and ended; it never falls."""

    def __init__(self) -> None:
        self._most = 0.0

    def cpu_s(self, pids: Iterable[int]) -> float:
        """Return the seconds of all workers; `pids` are those that run now."""
        self._most = max(self._most, children_usage()[0] + sum(_cpu_s(pid) for pid in pids))
        return self._most


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S
    except (OSError, IndexError, ValueError):
        return 0.0
