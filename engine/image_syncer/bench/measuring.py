"""One run of the command as a process of its own, and what it took: of its own processes, and of the whole machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.errors import SyncError

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


@dataclass(frozen=True)
class Measured:
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
        words = ["sync", "--plan", str(plan), *self._access, "--report", str(report), "--quiet", "--no-progress"]
        busy, began = _busy_s(), time.monotonic()
        try:
            done = subprocess.run(
                [*self._command, *words, *options],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SyncError(f"a run of the bench has not ended after {_LIMIT_S:.0f} s") from None
        wall = time.monotonic() - began
        machine = max(0.0, _busy_s() - busy - self._others * wall)
        if done.returncode:
            words_left = done.stderr.decode(errors="replace").strip()[-_LAST_WORDS:]
            raise SyncError(
                f"a run of the bench failed with exit code {done.returncode}",
                hint=words_left or "It said nothing.",
            )
        data = json.loads(report.read_bytes())
        usage = data["usage"]
        return Measured(wall, usage["coordinator_cpu_s"], usage["workers_cpu_s"], machine, data)


def _busy_s() -> float:
    """Seconds for which processors were busy since the machine began; 0 where nobody tells."""
    try:
        first = _STAT.read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return 0.0
    ticks = [int(one) for one in first.split()[1:9]]
    return (sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]) / _TICKS
