"""The ring: a bounded queue of bytes with one writer and several readers, which never reallocates.

The buffer is lent by the caller, so that it can be used again for the next blob. Positions count bytes since the
beginning of the blob; a position modulo the capacity is the place in the buffer. What is written is hidden until it is
published, so that readers never see a byte that was not hashed. The slowest reader decides how much room the writer
has.

A stream that has to be read again goes back to an earlier position (`begin_at`): readers that are ahead of it wait
until the writer has come to them again.

The writer has a fast way, which costs no call: while a chunk ends before the place `stop`, it may be copied to
`buffer[at:end]` and `at` be moved to its end. Whatever else may matter (no room, the end of the buffer, a `mark` that
the writer has set) lies at `stop` or behind it, and is looked at in `try_put`.
"""

from __future__ import annotations

import sys

__all__ = ["Ring"]


class Ring:
    """A bounded queue of bytes over a lent `buffer`; sizes and positions in bytes.

    `written` is how much has gone in, `published` how much of it readers may have, `taken(reader)` how much one has
    had. A reader that is closed no longer holds the writer back; without an open one, nothing does.
    """

    __slots__ = (
        "_capacity",
        "_floor",
        "_lap",
        "_mark",
        "_open",
        "_tail",
        "_taken",
        "_unneeded",
        "at",
        "buffer",
        "published",
        "stop",
    )

    def __init__(self, buffer: bytearray | memoryview, readers: int = 1, *, mark: int = 0) -> None:
        self.buffer = memoryview(buffer)
        self._capacity = len(self.buffer)
        if not self._capacity:
            raise RuntimeError("a ring needs a buffer of at least one byte")
        self._taken = [0] * readers
        self._open = list(range(readers))
        self._lap = 0
        self._floor = 0
        self._mark = mark
        self.at = 0
        self.published = 0
        self._settle()

    @property
    def capacity(self) -> int:
        """Bytes that the ring can hold."""
        return self._capacity

    @property
    def written(self) -> int:
        """Bytes that have gone in since the beginning."""
        return self._lap + self.at

    @property
    def free(self) -> int:
        """Bytes that can be written now: the capacity less what the slowest open reader has not taken."""
        return self._capacity - self.written + self._tail

    def taken(self, reader: int) -> int:
        """Bytes that `reader` has had since the beginning."""
        return self._taken[reader]

    def readable(self, reader: int) -> int:
        """Published bytes that wait for `reader`; less than 0 where it is ahead of a writer that went back."""
        return self.published - self._taken[reader]

    def try_put(self, chunk: bytes | memoryview, length: int) -> bool:
        """Write the whole `chunk`, of `length` bytes; False, and nothing is written, where there is no room for it."""
        capacity, start = self._capacity, self.at
        if length > capacity - self._lap - start + self._tail:
            return False
        end = start + length
        if end < capacity:
            self.buffer[start:end] = chunk
            self.at = end
        else:
            first = capacity - start
            self.buffer[start:] = chunk[:first]
            self.buffer[: length - first] = chunk[first:]
            self.at = end - capacity
            self._lap += capacity
        self._set_stop()
        return True

    def hidden(self) -> list[memoryview]:
        """What is written and not published, in order, without a copy: one view, or two where the ring wraps."""
        start = self.published % self._capacity
        end = start + self.written - self.published
        if end <= self._capacity:
            return [self.buffer[start:end]]
        return [self.buffer[start:], self.buffer[: end - self._capacity]]

    def publish(self, mark: int) -> None:
        """Let readers have everything that is written; `mark` is the position at which the writer has to stop next."""
        self.published = self.written
        self._mark = mark
        if self._unneeded:
            self._settle()
        else:
            self._set_stop()

    def take(self, reader: int, most: int) -> memoryview:
        """Up to `most` published bytes for `reader`, without a copy; empty where nothing waits.

        The view is good until the next `try_put`: whoever takes it copies it at once (libcurl does, when the read
        callback returns). A wrap of the ring ends the view early. Raises RuntimeError for a closed reader, whose bytes
        may have been overwritten.
        """
        if reader not in self._open:
            raise RuntimeError(f"reader {reader} is closed")
        taken = self._taken[reader]
        start = taken % self._capacity
        length = min(most, self.published - taken, self._capacity - start)
        if length <= 0:
            return self.buffer[:0]
        self._taken[reader] = taken + length
        if taken == self._tail:
            self._settle()
        return self.buffer[start : start + length]

    def seek(self, reader: int, position: int) -> bool:
        """Let `reader` go on at `position`, where it may have been before; False where the bytes from there on have
        been overwritten or were never there, or it is closed.
        """
        first = max(self._floor, self.written - self._capacity)
        if not first <= position <= self.published or reader not in self._open:
            return False
        self._taken[reader] = position
        self._settle()
        return True

    def skip(self, reader: int, position: int) -> None:
        """`reader` needs nothing before `position`, which may lie ahead of what is written."""
        self._taken[reader] = position
        self._settle()

    def begin_at(self, position: int, mark: int) -> None:
        """The writer goes back to `position`: what was written from there on comes again, what lies before is gone."""
        self.at = position % self._capacity
        self._lap = position - self.at
        self._floor = self.published = position
        self._mark = mark
        self._settle()

    def close_reader(self, reader: int) -> None:
        """`reader` takes no more: it no longer holds the writer back."""
        if reader in self._open:
            self._open.remove(reader)
            self._settle()

    def release(self) -> None:
        """Give the buffer back; the ring cannot be used any more."""
        self.buffer.release()

    def _set_stop(self) -> None:
        self.stop = min(min(self._mark, self._tail + self._capacity) - self._lap, self._capacity)

    def _settle(self) -> None:
        """See where the slowest reader is. What is published is `_unneeded` where nobody is behind it."""
        least = min((self._taken[reader] for reader in self._open), default=sys.maxsize)
        self._unneeded = least > self.published
        self._tail = self.published if self._unneeded else least
        self._set_stop()

    def __repr__(self) -> str:
        waits = ", ".join(f"{reader}: {self.readable(reader)}" for reader in self._open)
        return f"<Ring {self.written} written, {self.free} of {self._capacity} free, waiting {{{waits}}}>"
