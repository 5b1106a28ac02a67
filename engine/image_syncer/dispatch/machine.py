"""The machine: processors, memory and open files that this process may use, by affinity, cgroups(7) and rlimits."""

from __future__ import annotations

import contextlib
import math
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.scheduling import Machine

if TYPE_CHECKING:
    from image_syncer.scheduling import Resources


_NO_LIMIT_FROM = 2**60
"""cgroup 1 writes a number near 2**63 where there is no limit."""
_MANY_FILES = 2**20
"""No limit: more than any run opens."""


def inspect_machine(root: Path = Path("/")) -> Machine:
    """What affinity, cgroups and rlimits allow. /proc and /sys are read under `root`."""
    groups = _Groups(root)
    limits = [limit for limit in (groups.memory_bytes(), *_rlimits()) if limit is not None]
    _, open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        cpus=_cpus(groups.quota()),
        memory_bytes=min(limits, default=None),
        open_files=_MANY_FILES if open_files == resource.RLIM_INFINITY else open_files,
    )


def raise_open_files(needed: int) -> int:
    """Raise the soft limit of open files to `needed`, as far as the hard limit allows; returns the limit in force.

    See setrlimit(2), RLIMIT_NOFILE. Workers inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MANY_FILES
    if soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):  # macOS has bounds that no limit shows
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_files(resources: Resources) -> str | None:
    """Raise the limit of open files to what `resources` need; returns a warning where that is not possible."""
    allowed = raise_open_files(resources.open_files)
    if allowed >= resources.files_wanted:
        return None
    return (
        f"a process may open {allowed} files here, which is room for {resources.streams} streams in a worker: "
        f"raise the hard limit (ulimit -Hn) to {resources.files_wanted} or more"
    )


def _cpus(quota: float | None) -> int:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def _rlimits() -> list[int]:
    limits = [resource.getrlimit(which)[0] for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return [limit for limit in limits if limit != resource.RLIM_INFINITY]


class _Groups:
    """The cgroup of this process and those above it: the tightest limit counts."""

    def __init__(self, root: Path) -> None:
        self._membership = root / "proc/self/cgroup"
        self._mounts = root / "sys/fs/cgroup"

    def quota(self) -> float | None:
        """Processors by the quota of the scheduler, which may be a fraction; None: no limit."""
        found = []
        for folder in self._folders("cpu"):
            words = _read(folder / "cpu.max").split()  # cgroup 2: "50000 100000" or "max 100000"
            words = words or [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
            if len(words) == 2 and all(word.isdigit() and int(word) for word in words):  # noqa: PLR2004 - quota, period
                found.append(int(words[0]) / int(words[1]))
        return min(found, default=None)

    def memory_bytes(self) -> int | None:
        """The memory that all processes of the group may have together; None: no limit."""
        found = [
            int(text)
            for folder in self._folders("memory")
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
            if (text := _read(folder / name)).isdigit() and 0 < int(text) < _NO_LIMIT_FROM
        ]
        return min(found, default=None)

    def _folders(self, controller: str) -> list[Path]:
        folders: list[Path] = []
        for line in _read(self._membership).splitlines():
            _, controllers, path = (*line.split(":", 2), "", "")[:3]
            if controllers and controller not in controllers.split(","):
                continue
            names = [controllers, controller] if controllers else ["", "unified"]
            for mount in (self._mounts / name for name in names):
                # In a container the path may be the host's, and the mount has this group at its root.
                steps = [step for step in path.split("/") if step not in ("", "..")]
                folders += [mount.joinpath(*steps[:count]) for count in range(len(steps), -1, -1)]
        return list(dict.fromkeys(folders))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
