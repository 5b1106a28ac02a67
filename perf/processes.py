"""The processes of a running command, looked at through /proc(5): who they are, their peak memory, their CPU time.

A command runs in a session of its own (setsid(2)), and its processes are those of that session: not every kernel has
`/proc/PID/task/TID/children`. A process that was once seen to be a stranger is not looked at again, so that a look
costs little.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessPeak", "Watcher", "role_of", "session_members"]

_INTERVAL_S = 0.02
_MOST_SHARE = 0.05
"""Of one processor, for looking: with many processes we look less often."""
_TICKS = os.sysconf("SC_CLK_TCK")
_SESSION, _USER, _SYSTEM = 3, 11, 12
"""Fields of /proc/PID/stat after the name in brackets, from 0: session, utime, stime."""


@dataclass
class ProcessPeak:
    """One process: its part in the command, and what was last seen of it."""

    pid: int
    role: str
    peak_memory_bytes: int = 0
    cpu_s: float = 0.0


ROLES = {"syncer-worker": "worker", "syncer-zygote": "zygote"}
"""Of forked processes of image-syncer, by the names that they give themselves."""


def role_of(arguments: list[str], *, is_root: bool, name: str = "") -> str:
    """`coordinator`, `zygote` and `worker` for image-syncer's processes, else the program's name."""
    line = " ".join(arguments)
    if name in ROLES:
        return ROLES[name]
    if "image_syncer.worker.process" in line:
        return "worker"
    if is_root and "image_syncer_cli" in line:
        return "coordinator"
    return Path(arguments[0]).name if arguments and arguments[0] else "?"


class Watcher:
    """Looks at the session of `root` until `stop`, in a thread of its own."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._strangers: set[int] = set()
        self._seen: dict[int, ProcessPeak] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch processes", daemon=True)
        self._thread.start()

    def stop(self) -> list[ProcessPeak]:
        """All processes that were seen."""
        self._ended.set()
        self._thread.join()
        return sorted(self._seen.values(), key=lambda process: process.pid)

    def _watch(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            began = time.thread_time()
            for pid in _processes() - self._strangers:
                self._look(pid)
            took = time.thread_time() - began if wait else 0.0  # the first look is at every stranger, once
            wait = max(_INTERVAL_S, took / _MOST_SHARE)

    def _look(self, pid: int) -> None:
        place = f"/proc/{pid}/"
        try:
            head, _, tail = _read(place + "stat").rpartition(")")
            fields, name = tail.split(), head.partition("(")[2]
            if int(fields[_SESSION]) != self._root and pid != self._root:
                self._strangers.add(pid)
                return
            arguments = _read(place + "cmdline").rstrip("\0").split("\0")
            status = _read(place + "status")
        except (OSError, IndexError):
            return  # it has just ended
        process = self._seen.setdefault(pid, ProcessPeak(pid, "?"))
        if arguments != [""]:  # what has ended and waits for its parent has none
            process.role = role_of(arguments, is_root=pid == self._root, name=name)
        _, found, rest = status.partition("VmHWM:")
        if found:
            process.peak_memory_bytes = max(process.peak_memory_bytes, int(rest.split(None, 1)[0]) * 1024)
        process.cpu_s = (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS


def session_members(session: int) -> list[int]:
    """The processes that are in a session now."""
    members = []
    for pid in _processes():
        with contextlib.suppress(OSError):  # it has just ended
            if int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[_SESSION]) == session:
                members.append(pid)
    return members


def _processes() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - fifty times a second


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 16384).decode(errors="replace")
    finally:
        os.close(descriptor)
