"""The small_blob: a small blob that is downloaded whole, verified, and only then sent.

It has the same two callbacks as a `Stream`, and needs nothing else of one: no ring, no pauses, no pieces. Its bytes can
be sent to any number of destinations, and again from the first one where a connection was lost.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from image_syncer.transfer.faults import too_long, wrong_digest

if TYPE_CHECKING:
    from image_syncer.errors import IntegrityError
    from image_syncer.oci import Digest
    from image_syncer.transfer.sender import Signals

__all__ = ["SmallBlob", "SmallBlobSender"]


class SmallBlobSender:
    """Hands a small_blob's bytes to one destination; `sent` counts those handed out."""

    __slots__ = ("_bytes", "sent")

    paused = False
    """Everything is there: nobody ever waits for the source."""

    def __init__(self, content: memoryview) -> None:
        self._bytes = content
        self.sent = 0

    def send(self, most: int) -> memoryview:
        """Libcurl's read callback: up to `most` bytes (CURLOPT_READFUNCTION)."""
        view = self._bytes[self.sent : self.sent + most]
        self.sent += len(view)
        return view

    def aim(self, end: int) -> None:
        """A request begins that takes the bytes from `sent` to `end`, which is always the last."""

    def rewind(self) -> bool:
        """Begin again with the first byte, on a new connection."""
        return self.seek(0)

    def seek(self, position: int) -> bool:
        """Go on at `position`."""
        self.sent = position
        return True


class SmallBlob:
    """The bytes of one blob of `size` bytes in a lent buffer of at least that size.

    `verified` says that all bytes came and have the digest; `fault` is what was wrong with them.
    """

    __slots__ = ("_content", "_digest", "_signals", "fault", "received", "senders", "size", "verified")

    blocked = False
    """There is room for the whole blob: the download is never paused."""

    def __init__(self, digest: Digest, size: int, buffer: memoryview, *, senders: int, signals: Signals) -> None:
        self._digest = digest
        self._signals = signals
        self._content = buffer[:size]
        self.size = size
        self.senders = tuple(SmallBlobSender(self._content) for _ in range(senders))
        self.received = 0
        self.verified = False
        self.fault: IntegrityError | None = None
        if size == 0:
            self._conclude()

    def receive(self, chunk: memoryview) -> int | None:
        """Libcurl's write callback: take the whole `chunk`, or end the download (CURLOPT_WRITEFUNCTION)."""
        begin = self.received
        end = begin + len(chunk)
        if end > self.size:
            self.fault = too_long(self._digest, self.size)
            return self._signals.abort_receive
        self._content[begin:end] = chunk
        self.received = end
        return self._conclude() if end == self.size else None

    def begin_receiving(self) -> None:
        """A download begins, or goes on, at `received`."""

    def release(self) -> None:
        """Give the buffer back."""
        self._content.release()

    def _conclude(self) -> int | None:
        hasher = self._digest.new_hash()
        hasher.update(self._content)
        actual = hasher.hexdigest()
        if hmac.compare_digest(actual, self._digest.hex):
            self.verified = True
            return None
        self.fault = wrong_digest(self._digest, actual)
        return self._signals.abort_receive

    def __repr__(self) -> str:
        state = "verified" if self.verified else "faulty" if self.fault else "incomplete"
        return f"<SmallBlob {self._digest.short} {self.received}/{self.size} {state}>"
