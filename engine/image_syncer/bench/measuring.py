"""Runs of the command as processes of their own, what they take, and the settings beyond which more does not pay."""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.capacity.measured import Cost
from image_syncer.errors import SyncError
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


ENOUGH = 1.05
"""A setting whose time is within this factor of the best is as good, and the smallest of those is taken."""
RUNS = 3
KIB = 2**10
WINDOWS = (256 * KIB, 1024 * KIB, 4096 * KIB)
STREAMS = (1, 4, 16)
_TICKS = os.sysconf("SC_CLK_TCK")
_STAT = Path("/proc/stat")
_IDLE, _IOWAIT = 3, 4
"""Fields of the first line of /proc/stat, after its name (proc(5))."""
_QUIET_S = 0.5
"""How long the machine is watched before, to know the load of other processes."""
_LAST_WORDS = 600
_LIMIT_S = 600.0
_WORDS = ("--quiet", "--no-progress", "--give-up-after=60s")
_END_S = 15.0
"""The time a run gets to end after SIGINT: its transfers break off, its workers and connections close."""


class Measured(Value, frozen=True):
    """One run: its time, the processor seconds of its coordinator, of all its workers and of the whole machine (without
    the load before the run), and its report.
    """

    wall_s: float
    cost: Cost
    report: dict[str, Any]

    @property
    def transfers(self) -> list[dict[str, Any]]:
        """The transfers of the report."""
        return list(self.report["transfers"])

    @property
    def moved(self) -> list[dict[str, Any]]:
        """The transfers that moved bytes to their only destination."""
        return [one for one in self.transfers if one["outcomes"] == ["moved"]]

    @property
    def moving_s(self) -> float:
        """From the begin of the first of `moved` to the end of the last; there has to be one."""
        moved = self.moved
        return float(max(one["ended_s"] for one in moved) - min(one["began_s"] for one in moved))


class Measurer:
    """Runs `command` (the words that begin image-syncer) with the options `access`, by which registries are reached."""

    def __init__(self, command: Sequence[str], access: Sequence[str], folder: Path) -> None:
        self._command = list(command)
        self._access = list(access)
        self._folder = folder
        before, began = _busy_s(), time.monotonic()
        time.sleep(_QUIET_S)
        self._others = max(0.0, (_busy_s() - before) / (time.monotonic() - began))
        """Processors that other processes keep busy."""
        self._number = 0
        self.limits: list[dict[str, Any]] = []
        """For each run, the limits that registries set."""

    def run(self, plan: Path, options: Sequence[str] = ()) -> Measured:
        """Carry out the plan file. Raises SyncError where the run fails."""
        self._number += 1
        report = self._folder / f"report-{self._number}.json"
        words = ["sync", "--plan", str(plan), *self._access, "--report", str(report), *_WORDS]
        busy, began = _busy_s(), time.monotonic()
        code, said = self._call([*words, *options])
        wall = time.monotonic() - began
        machine = max(0.0, _busy_s() - busy - self._others * wall)
        if code:
            raise SyncError(f"a run of the bench failed with exit code {code}", hint=said or "It said nothing.")
        try:
            data = json.loads(report.read_bytes())
            usage = data["usage"]
            self.limits.append(data["limits"])
            return Measured(wall, Cost(usage["coordinator_cpu_s"], usage["workers_cpu_s"], machine), data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SyncError(f"a run of the bench left no report that can be read: {error}") from None

    def _call(self, words: Sequence[str]) -> tuple[int, str]:
        """Return the exit code and the end of the output. The run is a session of its own: Ctrl-C in the terminal
        reaches the bench alone, which ends the whole run.
        """
        with tempfile.TemporaryFile(dir=self._folder) as said:
            child = subprocess.Popen(
                [*self._command, *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = _wait(child, _LIMIT_S)
            except subprocess.TimeoutExpired:
                self._end(child)
                hint = "Give a smaller --budget where the path is slow."
                raise SyncError(f"a run of the bench has not ended after {_LIMIT_S:.0f} s", hint=hint) from None
            except BaseException:
                self._end(child)
                raise
            size = said.seek(0, os.SEEK_END)
            said.seek(max(0, size - _LAST_WORDS))
            lines = said.read().decode(errors="replace").splitlines()
            whole = lines if size <= _LAST_WORDS else lines[1:]
            return code, " ".join(" ".join(whole or lines).split())

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        """End it as Ctrl-C would; by force where that does not help, or is interrupted."""
        try:
            child.send_signal(signal.SIGINT)
            child.wait(_END_S)
        except BaseException as error:
            child.kill()
            child.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


def _wait(child: subprocess.Popen[bytes], most_s: float) -> int:
    """As `Popen.wait`, whose timeout is a poll every 50 ms: too coarse for a run of 200 ms. Here pidfd_open(2) reports
    the end. Returns the exit code; raises TimeoutExpired after `most_s` seconds.
    """
    try:
        pidfd = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # an old kernel
        return child.wait(most_s)
    try:
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        if not ended.poll(most_s * 1000):
            raise subprocess.TimeoutExpired(child.args, most_s)
    finally:
        os.close(pidfd)
    return child.wait()


def _busy_s() -> float:
    """Seconds for which processors were busy since the machine began; 0 where that is not known."""
    try:
        first = _STAT.read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return 0.0
    ticks = [int(one) for one in first.split()[1:9]]
    return (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / _TICKS


class Setting(Value, frozen=True, order=True):
    """Workers, streams of each, and the window of a stream in bytes."""

    workers: int
    streams: int
    window: int

    @property
    def words(self) -> tuple[str, ...]:
        """The settings as options."""
        return (f"--workers={self.workers}", f"--streams={self.streams}", f"--window={self.window}")


def sweep(
    measurer: Measurer,
    samples: Callable[[], Path],
    cpus: int,
    *,
    tell: Callable[[str], None],
) -> Setting:
    """Try workers, then streams, then windows, each in `RUNS` runs by turns, from the settings that a run would take.
    `samples` makes a plan file whose destinations are new each time.
    """
    best = Setting(cpus, STREAMS[-1], WINDOWS[1])
    workers = [*(2**power for power in range((2 * cpus - 1).bit_length())), 2 * cpus]
    for name, values in (("workers", workers), ("streams", STREAMS), ("window", WINDOWS)):
        tried = [replace(best, **{name: value}) for value in values]
        seconds: dict[Setting, list[float]] = {one: [] for one in tried}
        for _ in range(RUNS):
            for one in tried:
                seconds[one].append(measurer.run(samples(), one.words).wall_s)
        took = {one: statistics.median(times) for one, times in seconds.items()}
        least = min(took.values())
        best = min(one for one, median in took.items() if median <= least * ENOUGH)
        tell(f"{best.workers} workers × {best.streams} streams × {best.window // KIB} KiB: {took[best]:.2f} s")
    return best
