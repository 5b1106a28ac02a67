"""A program that watches in many quick rounds, and tells after each what it holds: descriptors, tasks, memory.

Its argument is JSON: the files, the journal, and how many runs there are to be. It is a program of its own so that no
registry of the test lives in the same memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from image_syncer import Settings, load_configuration
from image_syncer.watch import WatchSettings
from image_syncer.watch.schedule import IntervalSchedule, Start
from image_syncer.watch.watcher import run_watch

FAR_S = 3600.0


class MayBeDone(Protocol):
    """Who ends a watch by a signal to its own process."""

    @property
    def is_done(self) -> bool:
        """Whether the signal was sent."""


class UntilDone(IntervalSchedule, frozen=True, kw_only=True):
    """As often as can be until `watcher` is done. No further round begins: the signal would interrupt it."""

    watcher: MayBeDone

    def next_start(self, planned: float, now: float, chance: float) -> Start:
        """See `IntervalSchedule`."""
        start = super().next_start(planned, now, chance)
        return replace(start, at=start.at + FAR_S) if self.watcher.is_done else start


class Teller:
    """Looks on, tells, and ends the watch after so many runs."""

    def __init__(self, runs: int) -> None:
        self._left = runs

    def on_line(self, *_: object) -> None: ...

    on_trouble = on_configuration = on_begin = on_progress = on_image = on_line

    def on_end(self, _order: object, report: Any) -> None:
        self._left -= 1
        measures = {
            "exit_code": report.exit_code,
            "blobs": report.totals.blobs_moved,
            "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - numbers of descriptors
            "tasks": len(asyncio.all_tasks()),
            "kib": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024,
        }
        print(json.dumps(measures), flush=True)
        if self.is_done:
            os.kill(os.getpid(), signal.SIGTERM)

    @property
    def is_done(self) -> bool:
        """Whether the watch is to end."""
        return self._left <= 0


def main() -> int:
    given = json.loads(sys.argv[1])
    teller = Teller(given["runs"])
    return run_watch(
        lambda: load_configuration(auth=given["auth"], images=given["images"], environ={}),
        Settings(workers=1, progress_interval_s=0.05, state_path=given["state"]),
        WatchSettings(UntilDone("", 0.01, watcher=teller), rest=1),
        view=teller,
        version="1",
    )


if __name__ == "__main__":
    sys.exit(main())
