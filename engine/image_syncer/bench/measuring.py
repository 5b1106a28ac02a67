"""One run of the command as a process of its own, and what it took: of its own processes, and of the whole machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.errors import SyncError
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Measured", "Measurer"]

_TICKS = os.sysconf("SC_CLK_TCK")
_STAT = Path("/proc/stat")
_IDLE, _IOWAIT = 3, 4
"""Of the first line of /proc/stat, after its name (proc(5))."""
_QUIET_S = 0.5
"""How long the machine is watched before, to know what others take of it."""
_LAST_WORDS = 600
_LIMIT_S = 600.0
_WORDS = ("--quiet", "--no-progress", "--give-up-after=60s")
_END_S = 15.0
"""What a run gets to end by itself: its transfers break off, its workers and connections close."""


class Measured(Value, frozen=True):
    """Seconds of a run, of the processors of its coordinator and its workers, and of the machine's beyond what it took
    before; and its report.
    """

    wall_s: float
    coordinator_s: float
    workers_s: float
    machine_s: float
    report: dict[str, Any]

    @property
    def transfers(self) -> list[dict[str, Any]]:
        """The transfers of the report."""
        return list(self.report["transfers"])


class Measurer:
    """Runs `command` (the words that begin image-syncer) with the words that say how registries are reached."""

    def __init__(self, command: Sequence[str], access: Sequence[str], folder: Path) -> None:
        self._command = list(command)
        self._access = list(access)
        self._folder = folder
        self._others = self._watch_others()
        self._number = 0
        self.limits: list[dict[str, Any]] = []
        """What each run learnt of registries that limited it."""

    @staticmethod
    def _watch_others() -> float:
        """Processors that others keep busy now."""
        before, began = _busy_s(), time.monotonic()
        time.sleep(_QUIET_S)
        return max(0.0, (_busy_s() - before) / (time.monotonic() - began))

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
            return Measured(wall, usage["coordinator_cpu_s"], usage["workers_cpu_s"], machine, data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SyncError(f"a run of the bench left no report that can be read: {error}") from None

    def _call(self, words: Sequence[str]) -> tuple[int, str]:
        """The exit code, and the end of what it said. It is in a session of its own: who ends the bench ends it here,
        once, and not half of it by a signal to the terminal's group.
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
                code = child.wait(_LIMIT_S)
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
        """As Ctrl-C would; by force where that does not help, or where somebody does not want to wait for it."""
        try:
            child.send_signal(signal.SIGINT)
            child.wait(_END_S)
        except BaseException as error:
            child.kill()
            child.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


def _busy_s() -> float:
    """Seconds for which processors were busy since the machine began; 0 where nobody tells."""
    try:
        first = _STAT.read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return 0.0
    ticks = [int(one) for one in first.split()[1:9]]
    return (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / _TICKS
