"""What a run took of the machine (getrusage(2)): processor time and peak memory, of the coordinator and its workers."""

from __future__ import annotations

import re
import resource
from pathlib import Path

from image_syncer.telemetry.processes import children_usage, own_cpu_s

__all__ = ["UsageMeter"]

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
