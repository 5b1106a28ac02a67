"""Ring: a bounded queue of bytes with one writer and several readers, over a buffer that the caller lends.

Positions count bytes since the beginning of the blob; a position modulo the capacity is the place in the buffer. What
is written is hidden until it is published, so that readers never see a byte that was not hashed. The slowest reader
decides how much room the writer has. The writer may go back to an earlier position (`begin_at`): readers that are ahead
wait for it.
"""

from __future__ import annotations

import sys


class Ring:
    """A bounded queue of bytes over a lent `buffer`; sizes and positions in bytes.

    `written` is how much was written, `published` how much of it readers may take, `taken(reader)` how much one has
    taken. A closed reader does not hold the writer back; without an open one, nothing does.

    The writer has a fast way without a call: a chunk that ends before the place `stop` may be copied to
    `buffer[at:end]`, and `at` set to its end. Lack of room, the end of the buffer, and a `mark` that the writer has set
    lie at `stop` or behind it; `try_put` handles them.
    """

    __slots__ = (
        "_floor",
        "_lap",
        "_mark",
        "_open",
        "_tail",
        "_taken",
        "_unneeded",
        "at",
        "buffer",
        "capacity",
        "published",
        "stop",
    )

    def __init__(self, buffer: bytearray | memoryview, readers: int = 1, *, mark: int = 0) -> None:
        self.buffer = memoryview(buffer)
        self.capacity = len(self.buffer)
        if not self.capacity:
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
    def written(self) -> int:
        """Bytes that were written since the beginning."""
        return self._lap + self.at

    @property
    def free(self) -> int:
        """Bytes that can be written now: the capacity less what the slowest open reader has not taken."""
        return self.capacity - self.written + self._tail

    def taken(self, reader: int) -> int:
        """Bytes that `reader` has taken since the beginning."""
        return self._taken[reader]

    def readable(self, reader: int) -> int:
        """Published bytes that `reader` has not taken; less than 0 where it is ahead of a writer that went back."""
        return self.published - self._taken[reader]

    def try_put(self, chunk: bytes | memoryview, length: int) -> bool:
        """Write the whole `chunk`, of `length` bytes; False, and nothing is written, where there is no room for it."""
        capacity, start = self.capacity, self.at
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
        start = self.published % self.capacity
        end = start + self.written - self.published
        if end <= self.capacity:
            return [self.buffer[start:end]]
        return [self.buffer[start:], self.buffer[: end - self.capacity]]

    def publish(self, mark: int) -> None:
        """Publish everything that is written; `mark` is the position at which the writer stops next."""
        self.published = self.written
        self._mark = mark
        if self._unneeded:
            self._settle()
        else:
            self._set_stop()

    def take(self, reader: int, most: int) -> memoryview:
        """Up to `most` published bytes for `reader`, without a copy; empty where nothing waits.

        The view is valid until the next `try_put`: libcurl copies it when the read callback returns. A wrap of the ring
        ends the view early. Raises RuntimeError for a closed reader, whose bytes may have been overwritten.
        """
        if reader not in self._open:
            raise RuntimeError(f"reader {reader} is closed")
        taken = self._taken[reader]
        start = taken % self.capacity
        length = min(most, self.published - taken, self.capacity - start)
        if length <= 0:
            return self.buffer[:0]
        self._taken[reader] = taken + length
        if taken == self._tail:
            self._settle()
        return self.buffer[start : start + length]

    def seek(self, reader: int, position: int) -> bool:
        """Move `reader` to `position`, also backwards; False where the bytes from there on were overwritten or have not
        come, or the reader is closed.
        """
        first = max(self._floor, self.written - self.capacity)
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
        """Move the writer back to `position`: later bytes come again, earlier ones are gone."""
        self.at = position % self.capacity
        self._lap = position - self.at
        self._floor = self.published = position
        self._mark = mark
        self._settle()

    def close_reader(self, reader: int) -> None:
        """`reader` takes no more, and no longer holds the writer back."""
        if reader in self._open:
            self._open.remove(reader)
            self._settle()

    def release(self) -> None:
        """Release the buffer; the ring cannot be used any more."""
        self.buffer.release()

    def _set_stop(self) -> None:
        self.stop = min(min(self._mark, self._tail + self.capacity) - self._lap, self.capacity)

    def _settle(self) -> None:
        """Find the slowest reader. What is published is `_unneeded` where no reader is behind it."""
        least = min((self._taken[reader] for reader in self._open), default=sys.maxsize)
        self._unneeded = least > self.published
        self._tail = self.published if self._unneeded else least
        self._set_stop()

    def __repr__(self) -> str:
        waits = ", ".join(f"{reader}: {self.readable(reader)}" for reader in self._open)
        return f"<Ring {self.written} written, {self.free} of {self.capacity} free, waiting {{{waits}}}>"
