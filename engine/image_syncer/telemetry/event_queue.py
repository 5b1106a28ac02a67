"""The events that nobody has taken yet: in order, in bounded memory, from one thread to another.

Who takes them slowly loses nothing but older progress, and holds up nobody: what is too much for the memory waits in a
temporary file that has no name.
"""

from __future__ import annotations

import pickle
import tempfile
import threading
from collections import deque
from typing import IO, TYPE_CHECKING

from image_syncer.telemetry.events import ProgressMade, RunEnded

if TYPE_CHECKING:
    from image_syncer.telemetry.events import Event

__all__ = ["EventQueue"]

CHUNK = 1000
"""Events that go to the file together, about a megabyte: in memory are at most three times as many."""


class EventQueue:
    """Events in, events out; of progress, only the newest, and that before what is older."""

    def __init__(self, chunk: int | None = None) -> None:
        self._chunk = chunk or CHUNK
        self._lock = threading.Lock()
        self._first: deque[Event] = deque()
        self._spilt: deque[tuple[int, int]] = deque()
        """Where in the file the chunks are that come next: offset and length in bytes."""
        self._last: list[Event] = []
        self._file: IO[bytes] | None = None
        self._file_end = 0
        self._spill_at = self._chunk
        self._progress: ProgressMade | None = None
        self._progress_was_last = False

    @property
    def in_memory(self) -> int:
        """How many events are held in memory."""
        return len(self._first) + len(self._last) + (self._progress is not None)

    def put(self, event: Event) -> None:
        """Adds one event."""
        with self._lock:
            if isinstance(event, ProgressMade):
                self._progress = event
            elif not self._spilt and not self._last and len(self._first) < self._chunk:
                self._first.append(event)
            else:
                self._last.append(event)
                if len(self._last) >= self._spill_at:
                    self._spill()

    def take(self) -> Event | None:
        """The next event; None where there is none now."""
        with self._lock:
            if not self._first:
                self._refill()
            if self._progress is not None and (not self._progress_was_last or self._is_at_end()):
                event, self._progress, self._progress_was_last = self._progress, None, True
                return event
            # Where events are taken more slowly than progress comes, every second one is progress.
            self._progress_was_last = False
            return self._first.popleft() if self._first else None

    def close(self) -> None:
        """Nothing will be taken any more."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._first.clear()
            self._last.clear()
            self._spilt.clear()

    def _is_at_end(self) -> bool:
        return not self._first or isinstance(self._first[0], RunEnded)

    def _spill(self) -> None:
        data = pickle.dumps(self._last, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="image-syncer-events-", buffering=0)  # noqa: SIM115 - see close
            self._file.seek(self._file_end)
            written = self._file.write(data)
        except OSError:
            written = 0
        if written < len(data):  # no room: memory has to do, and it is tried again when there is as much once more
            self._spill_at = 2 * len(self._last)
            return
        self._spilt.append((self._file_end, len(data)))
        self._file_end += len(data)
        self._last, self._spill_at = [], self._chunk

    def _refill(self) -> None:
        if not self._spilt:
            self._first, self._last, self._spill_at = deque(self._last), [], self._chunk
            return
        assert self._file is not None
        offset, length = self._spilt.popleft()
        self._file.seek(offset)
        self._first.extend(pickle.loads(_read(self._file, length)))  # noqa: S301 - nobody else can write to it
        if not self._spilt:
            self._file.seek(0)
            self._file.truncate()
            self._file_end = 0


def _read(file: IO[bytes], length: int) -> bytes:
    """All of it: without a buffer, a read may bring less."""
    parts = []
    while length and (part := file.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
