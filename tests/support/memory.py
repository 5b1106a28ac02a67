"""How much memory the processes of a run have, and room for what is too large for a small disk."""

from __future__ import annotations

import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.processes import Process
    from support.sync_process import SyncProcess

SAMPLE_S = 0.05
RAM_DISK = Path("/dev/shm")
"""Where files cost no disk, if there is room."""


class MemoryWatch:
    """Looks at the processes of a run until the block is left.

    The kernel keeps the most that each has ever had resident (`peaks`, in bytes), so only what happens after the last
    look is missed. `most_at_once` is the largest sum over all processes at one time.
    """

    def __init__(self, run: SyncProcess) -> None:
        self.peaks: dict[Process, int] = {}
        self.most_at_once = 0
        self._run = run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> MemoryWatch:  # noqa: PYI034 - Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            processes = [self._run.process, *self._run.look()]
            self.most_at_once = max(self.most_at_once, sum(one.memory("VmRSS") or 0 for one in processes))
            self.peaks.update((one, peak) for one in processes if (peak := one.memory("VmHWM")) is not None)


@contextmanager
def room_for(size_bytes: int) -> Iterator[Path]:
    """A folder with room for so much and some more, which is gone afterwards."""
    on_ram = RAM_DISK.is_dir() and shutil.disk_usage(RAM_DISK).free > 2 * size_bytes
    with tempfile.TemporaryDirectory(dir=RAM_DISK if on_ram else None) as folder:
        yield Path(folder)
