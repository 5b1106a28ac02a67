"""What this process may use of the machine: processors, memory, open files. Linux: affinity, cgroups 1 and 2,
rlimits.
"""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

from image_syncer.planning import Machine

__all__ = ["inspect_machine", "raise_open_files"]

_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT_FROM = 2**60
"""cgroup 1 writes a number near 2**63 where there is no limit."""


def inspect_machine() -> Machine:
    """The processors that affinity and the cgroup's quota leave us, and the memory of the cgroup and of rlimits."""
    limits = [limit for limit in (_cgroup_memory(), _address_space()) if limit is not None]
    return Machine(cpus=_cpus(), memory_bytes=min(limits, default=None))


def raise_open_files(needed: int) -> int:
    """Raise the soft limit of open files to `needed` if it is lower, as far as the hard limit lets us; the limit in
    force.

    See setrlimit(2), RLIMIT_NOFILE. Workers inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed if soft == resource.RLIM_INFINITY else soft
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _cpus() -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def _cgroup_quota() -> float | None:
    for folder in _own_groups("cpu"):
        words = _read(folder / "cpu.max").split()  # cgroup 2: "50000 100000" or "max 100000"
        if len(words) == 2 and words[0].isdigit():  # noqa: PLR2004 - quota and period
            return int(words[0]) / int(words[1])
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) > 0:
            return int(quota) / int(period)
    return None


def _cgroup_memory() -> int | None:
    found = [
        int(text)
        for folder in _own_groups("memory")
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        if (text := _read(folder / name)).isdigit() and int(text) < _NO_LIMIT_FROM
    ]
    return min(found, default=None)


def _address_space() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def _own_groups(controller: str) -> list[Path]:
    """The folders of our cgroup and of those above it, for `controller` (proc(5), /proc/self/cgroup)."""
    folders: list[Path] = []
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        roots = [_CGROUP / controllers, _CGROUP / controller] if controllers else [_CGROUP, _CGROUP / "unified"]
        for root in roots:
            own = root / path.lstrip("/")
            folders += [own, *(parent for parent in own.parents if root in (parent, *parent.parents))]
            # In a container the path is the host's, and the mount shows our group at its root.
            folders.append(root)
    return list(dict.fromkeys(folders))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
