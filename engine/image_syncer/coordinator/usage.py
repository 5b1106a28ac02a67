"""What a run took of the machine (getrusage(2)): processor time and peak memory, of the coordinator and its workers."""

from __future__ import annotations

import resource

__all__ = ["UsageMeter"]

_PAGE_UNIT = 1024
"""`ru_maxrss` is in KiB on Linux."""


class UsageMeter:
    """Begins to count when it is made. Workers count when they have ended; programs that we ran for credentials or a
    policy count with them.
    """

    def __init__(self) -> None:
        self._began = _cpu_s(resource.RUSAGE_SELF), _cpu_s(resource.RUSAGE_CHILDREN)

    def as_data(self) -> dict[str, float | int]:
        """Seconds since then, and peaks in bytes since each process began (of the largest worker)."""
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return {
            "coordinator_cpu_s": round(own.ru_utime + own.ru_stime - self._began[0], 4),
            "workers_cpu_s": round(children.ru_utime + children.ru_stime - self._began[1], 4),
            "coordinator_peak_bytes": own.ru_maxrss * _PAGE_UNIT,
            "worker_peak_bytes": children.ru_maxrss * _PAGE_UNIT,
        }


def _cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime
