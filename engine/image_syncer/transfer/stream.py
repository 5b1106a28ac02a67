"""The stream: the bytes of one blob between the download's callback and the uploads' callbacks.

This is the hot path: `receive` runs some 65,000 times a GiB (libcurl hands out at most 16 KiB a call over HTTP/1.1),
`send` once for each piece that goes out. Both are flat, make no events and take no time stamps. What the state machine
(`pipe.py`) must know is left in flags, and `on_due` is called once, until whoever drives the stream has looked at them.

Why a wrong blob can never be committed: the digest is fed before a chunk enters the ring, and the last chunk enters
only if digest and size are right. An upload that has promised `size` bytes (Content-Length) then never gets its last
ones.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, Origin
from image_syncer.transfer.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Digest

__all__ = ["Sender", "Signals", "Stream"]

PIECE_BYTES = 256 * 1024
"""What an upload waits for before it sends: fewer, larger sends; 256 KiB stays in the core's cache (measured)."""


class Signals:
    """What the callbacks return to libcurl, given from outside so that this room knows no libcurl.

    `pause_receive` is CURL_WRITEFUNC_PAUSE, `pause_send` CURL_READFUNC_PAUSE, `abort_send` CURL_READFUNC_ABORT; any
    count other than the length of the chunk ends a download (CURLE_WRITE_ERROR).
    """

    __slots__ = ("abort_receive", "abort_send", "pause_receive", "pause_send")

    def __init__(self, *, pause_receive: int, pause_send: int, abort_send: int, abort_receive: int = -1) -> None:
        self.pause_receive = pause_receive
        self.pause_send = pause_send
        self.abort_send = abort_send
        self.abort_receive = abort_receive


class Sender:
    """The upload side of a stream: hands the ring's bytes to one destination."""

    __slots__ = ("_ring", "_signals", "_stream", "index", "paused", "stopped", "urgent")

    def __init__(self, stream: Stream, ring: Ring, index: int, signals: Signals) -> None:
        self._stream = stream
        self._ring = ring
        self._signals = signals
        self.index = index
        self.paused = False
        self.stopped = False
        self.urgent = False

    @property
    def sent(self) -> int:
        """Bytes handed to libcurl so far."""
        return self._ring.taken(self.index)

    @property
    def ready(self) -> bool:
        """Whether it is worth un-pausing: a whole piece waits, or the end of the blob, or what waits is urgent."""
        readable = self._ring.readable(self.index)
        return readable >= self._stream.piece or self._stream.verified or (self.urgent and readable > 0)

    def send(self, most: int) -> memoryview | bytes | int:
        """Libcurl's read callback: up to `most` bytes, or a signal (CURLOPT_READFUNCTION)."""
        if self.stopped:
            return self._signals.abort_send
        stream = self._stream
        if self._ring.readable(self.index) < stream.piece and not self.ready:
            self.paused = True
            return self._signals.pause_send
        self.urgent = False
        view = self._ring.take(self.index, most)
        if stream.blocked and not stream.is_due and stream.ready:
            stream.is_due = True
            stream.on_due()
        return view

    def rewind(self) -> bool:
        """Begin again with the first byte, on a new connection; False where the ring no longer has it."""
        return not self.stopped and self._ring.rewind(self.index)


class Stream:
    """The bytes of one blob: digest fed, ring filled, senders woken. Sizes in bytes.

    `size` is what the descriptor promises. `on_due` is called when something can be un-paused or has ended, from
    inside a callback: it must only take note, because libcurl must not be called from there. `is_due` is reset by
    `attend`.
    """

    __slots__ = (
        "_digest",
        "_hash",
        "_ring",
        "_signals",
        "blocked",
        "fault",
        "is_due",
        "on_due",
        "piece",
        "received",
        "senders",
        "size",
        "verified",
    )

    def __init__(
        self,
        digest: Digest,
        size: int,
        buffer: bytearray | memoryview,
        *,
        senders: int,
        signals: Signals,
        on_due: Callable[[], object],
    ) -> None:
        self._digest = digest
        self._hash = digest.new_hash()
        self._signals = signals
        self._ring = Ring(buffer, senders)
        self.size = size
        self.piece = max(1, min(PIECE_BYTES, self._ring.capacity // 2))
        self.senders = tuple(Sender(self, self._ring, index, signals) for index in range(senders))
        self.on_due = on_due
        self.is_due = False
        self.received = 0
        self.blocked = False
        self.verified = False
        self.fault: IntegrityError | None = None
        if size == 0:
            self._conclude()

    @property
    def ready(self) -> bool:
        """Whether the ring has drained to its low watermark (half), so that the download is worth un-pausing."""
        return self._ring.free * 2 >= self._ring.capacity

    def receive(self, chunk: memoryview) -> int | None:
        """Libcurl's write callback: take the whole `chunk`, or signal (CURLOPT_WRITEFUNCTION).

        A paused chunk is given again later, so nothing is hashed before there is room for all of it.
        """
        length = len(chunk)
        ring = self._ring
        received = self.received + length
        if received > self.size:
            return self._refuse(f"the source sends more than the {self.size} bytes that the manifest names")
        if length > ring.free:
            self.blocked = True
            return self._signals.pause_receive
        if received == self.size:
            self._hash.update(chunk)
            if not self._conclude():
                return self._signals.abort_receive
            ring.put(chunk)
            self.received = received
            self._signal()
            return None
        self._hash.update(chunk)
        ring.put(chunk)
        self.received = received
        if not self.is_due:
            for sender in self.senders:
                if sender.paused and ring.readable(sender.index) >= self.piece:
                    self._signal()
                    break
        return None

    def attend(self) -> tuple[bool, list[int]]:
        """What can be un-paused now: (the download, the uploads by their index). Their flags are reset."""
        self.is_due = False
        resume_download = self.blocked and self.ready
        if resume_download:
            self.blocked = False
        woken = [sender for sender in self.senders if sender.paused and not sender.stopped and sender.ready]
        for sender in woken:
            sender.paused = False
        return resume_download, [sender.index for sender in woken]

    def fall_short(self) -> IntegrityError:
        """The error of a download that ended before all bytes came; also kept as `fault`."""
        self.fault = IntegrityError(
            f"the source ended the blob after {self.received} of {self.size} bytes",
            origin=Origin.SOURCE,
            digest=self._digest,
            expected=f"{self.size} bytes",
            actual=f"{self.received} bytes",
            retryable=True,
        )
        return self.fault

    def stop_sender(self, index: int) -> None:
        """One destination is given up: it no longer holds the others back."""
        sender = self.senders[index]
        sender.stopped = True
        sender.paused = False  # nothing that comes later is a reason to wake it
        self._ring.close_reader(index)
        if self.blocked and self.ready:
            self._signal()

    def flush(self) -> None:
        """Let paused senders have what waits although it is no whole piece: a slow source must not starve an upload."""
        for sender in self.senders:
            if sender.paused and not sender.stopped and self._ring.readable(sender.index):
                sender.urgent = True
                self._signal()

    def release(self) -> None:
        """Give the buffer back."""
        self._ring.release()

    def _conclude(self) -> bool:
        actual = self._hash.hexdigest()
        if hmac.compare_digest(actual, self._digest.hex):
            self.verified = True
            return True
        self._refuse("the source's bytes do not have the digest that the manifest names", actual=actual)
        return False

    def _refuse(self, what: str, actual: str | None = None) -> int:
        self.fault = IntegrityError(
            what,
            origin=Origin.SOURCE,
            digest=self._digest,
            expected=self._digest if actual else f"{self.size} bytes",
            actual=f"{self._digest.algorithm}:{actual}" if actual else None,
            hint="The blob is damaged at the source, or on the way; nothing of it was committed at the destination.",
            retryable=True,
        )
        self._signal()
        return self._signals.abort_receive

    def _signal(self) -> None:
        if not self.is_due:
            self.is_due = True
            self.on_due()

    def __repr__(self) -> str:
        state = "verified" if self.verified else "faulty" if self.fault else "blocked" if self.blocked else "flowing"
        return f"<Stream {self._digest.short} {self.received}/{self.size} {state} {self._ring!r}>"
