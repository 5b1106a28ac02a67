"""Processes as /proc shows them (proc(5)): who is whose child, who still lives, how much memory each has had."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S, MOST_POLL_S = 0.01, 0.03
"""The first pause between two looks at a condition, and the longest: a look can cost milliseconds of processor time."""
POLL_GROWTH = 1.1
PATIENCE_S = 30.0
"""How long a test waits for what must happen: generous, because it is only used up where something is broken."""


@dataclass(frozen=True)
class Process:
    """A process by its number and the time it was started (in ticks), so that a number that is given out again is not
    taken for it.
    """

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; one that waits only for somebody to ask how it ended does not."""
        stat = _read_stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in "ZX"

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped by a signal."""
        stat = _read_stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state == "T"

    def memory(self, field: str) -> int | None:
        """A field of its status in bytes: VmRSS (resident now), VmHWM (resident at most); None where it has ended."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return None
        found = [line.split() for line in text.splitlines() if line.startswith(f"{field}:")]
        return int(found[0][1]) * 1024 if found else None

    @property
    def open_files(self) -> list[str]:
        """What its descriptors lead to."""
        found = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found.append(str(link.readlink()))
            except OSError:
                continue  # closed meanwhile; the descriptor of this very listing always is
        return sorted(found)


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    started: int


def process_of(pid: int) -> Process:
    """The process that has this number now."""
    stat = _read_stat(pid)
    assert stat is not None, f"there is no process {pid}"
    return Process(pid, stat.started)


def children_of(pid: int) -> list[Process]:
    """The processes whose parent is `pid`, those that have ended left out, the oldest first."""
    found = []
    with os.scandir("/proc") as entries:
        numbers = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    for number in numbers:
        stat = _read_stat(number)
        if stat is not None and stat.parent == pid and stat.state not in "ZX":
            found.append(Process(number, stat.started))
    return sorted(found, key=lambda one: (one.started, one.pid))


def zygotes_of(pid: int) -> list[Process]:
    """The processes from which the run in process `pid` forks workers: one, or none."""
    return [child for child in children_of(pid) if _name(child) == "syncer-zygote"]


def workers_of(pid: int) -> list[Process]:
    """The workers of the run in process `pid`, the oldest first: forked from its zygote, or new interpreters."""
    forked = [worker for zygote in zygotes_of(pid) for worker in children_of(zygote.pid)]
    spawned = [child for child in children_of(pid) if "image_syncer.worker.process" in _command(child)]
    return sorted([*forked, *spawned], key=lambda one: (one.started, one.pid))


def _name(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/comm").read_text().strip()
    except OSError:
        return ""


def _command(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def wait_until(condition: Callable[[], object], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Returns when `condition` holds; fails the test where it does not within `patience_s` seconds."""
    deadline, pause_s = time.monotonic() + patience_s, POLL_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {patience_s:.0f} s"
        time.sleep(pause_s)
        pause_s = min(pause_s * POLL_GROWTH, MOST_POLL_S)


def _read_stat(pid: int) -> _Stat | None:
    try:
        # Not by pathlib, which costs more than the read: `children_of` reads this file of every process.
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123
            line = file.read()
    except OSError:
        return None
    # The name in parentheses may hold anything; the fields after it are numbered from 3 on.
    fields = line[line.rindex(b")") + 2 :].split(None, 20)
    return _Stat(state=fields[0].decode(), parent=int(fields[1]), started=int(fields[19]))
