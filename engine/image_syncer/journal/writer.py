"""The writer of a journal: a thread that takes what there is to be written, and commits it in batches.

The loop only appends to a list. A disk that is slow, full or broken keeps nobody waiting: past a bound, or at the first
error, the writer gives up, once and for all, and says so; the run goes on.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING

from image_syncer.errors import JournalError
from image_syncer.journal.file import JournalFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.journal.records import Change

__all__ = ["JournalWriter"]

BATCH_S = 0.5
"""How long something waits for others before it is written: what a kill -9 costs."""
BATCH_CHANGES = 2000
"""So many do not wait: some 10 ms of writing, and one fsync."""
MOST_PENDING = 200_000
"""Some 60 MB, and more than a disk that works ever leaves: then it stands still."""
CLOSE_S = 30.0
"""For the last batch, on a disk that is slow."""


class JournalWriter:
    """Writes to the journal `path`, which is prepared, in a thread of its own.

    `on_failure` is called with the reason, at most once, from any thread.
    """

    def __init__(self, path: str, on_failure: Callable[[str], None]) -> None:
        self._path = path
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._pending: list[Change] = []
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[bool]]] = []
        self._closing = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def put(self, change: Change) -> None:
        """Have this written, after all that was put before."""
        with self._lock:
            if self._failed or self._closing:
                return
            self._pending.append(change)
            count = len(self._pending)
        if count >= MOST_PENDING:
            self._fail(f"the disk is too slow: {count:,} records wait to be written")
        elif count >= BATCH_CHANGES:
            self._wake.set()

    async def flush(self) -> bool:
        """Returns when all that was put so far is on the disk; False where it will never be."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        with self._lock:
            if self._failed or self._closing:
                return False
            self._waiting.append((loop, future))
        self._wake.set()
        return await future

    def close(self) -> None:
        """Write what is left, and end the thread. May be called again."""
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._fail(f"the disk is too slow: the last batch was not written within {CLOSE_S:.0f} s")

    def _run(self) -> None:
        try:
            file = JournalFile(self._path)
        except JournalError as error:
            self._fail(error.message)
            return
        try:
            file.load_names()
            self._write_batches(file)
        except sqlite3.Error as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on, and is told
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            file.close()

    def _write_batches(self, file: JournalFile) -> None:
        while not self._failed:
            self._wake.wait(BATCH_S)
            self._wake.clear()
            with self._lock:
                closing = self._closing
                batch, self._pending = self._pending, []
                waiting, self._waiting = self._waiting, []
            try:
                if batch:
                    file.write(batch)
            except BaseException:
                with self._lock:
                    self._waiting += waiting
                raise
            _tell(waiting, written=True)
            if closing:
                return

    def _fail(self, reason: str) -> None:
        with self._lock:
            first, self._failed = not self._failed, True
            self._pending = []
            waiting, self._waiting = self._waiting, []
        if first:
            self._on_failure(reason)
        _tell(waiting, written=False)


def _tell(waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[bool]]], *, written: bool) -> None:
    for loop, future in waiting:
        loop.call_soon_threadsafe(_answer, future, written)


def _answer(future: asyncio.Future[bool], written: bool) -> None:
    if not future.done():
        future.set_result(written)
