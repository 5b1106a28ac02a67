"""The stream: the bytes of one blob between the download's callback and the uploads' callbacks.

This is the hot path: `receive` runs some 65,000 times a GiB (libcurl hands out at most 16 KiB a call over HTTP/1.1),
`send` once for each piece that goes out. Both are flat, make no events and take no time stamps but when something is
paused. What the state machine (`pipe.py`) must know is left in flags, and `on_due` is called once, until whoever drives
the stream has looked at them.

Chunks are copied into the ring as they come, and hashed and published a piece at a time: one call for a quarter of a
MiB that is still in the core's cache costs less than sixteen (docs/performance.md has the figures).

Why a wrong blob can never be committed: nothing is published before it was hashed, and the last piece is published only
if digest and size are right. An upload that has promised `size` bytes (Content-Length) then never gets its last ones.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from image_syncer.transfer.faults import too_long, too_short, wrong_digest
from image_syncer.transfer.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.errors import IntegrityError
    from image_syncer.oci import Digest

__all__ = ["Sender", "Signals", "Stream"]

PIECE_BYTES = 256 * 1024
"""What is hashed and sent at once: fewer, larger calls; 256 KiB stays in the core's cache (measured)."""


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
    """The upload side of a stream: hands the ring's bytes to one destination.

    `waited_s` is how long it had nothing to send although its destination would have taken it; `pauses` counts.
    """

    __slots__ = ("_ring", "_signals", "_stream", "index", "paused", "paused_at", "pauses", "stopped", "waited_s")

    def __init__(self, stream: Stream, ring: Ring, index: int, signals: Signals) -> None:
        self._stream = stream
        self._ring = ring
        self._signals = signals
        self.index = index
        self.paused = False
        self.paused_at = 0.0
        self.pauses = 0
        self.stopped = False
        self.waited_s = 0.0

    @property
    def sent(self) -> int:
        """Bytes handed to libcurl so far."""
        return self._ring.taken(self.index)

    @property
    def ready(self) -> bool:
        """Whether it is worth un-pausing: something is published, or the blob has ended."""
        return self._ring.readable(self.index) > 0 or self._stream.verified

    def waited_until(self, now: float) -> float:
        """`waited_s`, with the pause that is under way at `now`."""
        return self.waited_s + (now - self.paused_at if self.paused else 0.0)

    def send(self, most: int) -> memoryview | bytes | int:
        """Libcurl's read callback: up to `most` bytes, or a signal (CURLOPT_READFUNCTION)."""
        if self.stopped:
            return self._signals.abort_send
        stream = self._stream
        view = self._ring.take(self.index, most)
        if not view and not stream.verified:
            self.paused = True
            self.paused_at = stream.clock()
            self.pauses += 1
            return self._signals.pause_send
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
    `attend`. `clock` gives seconds; it is read when a side is paused and when it goes on.

    `waited_s` is how long the download was paused because the ring was full.
    """

    __slots__ = (
        "_digest",
        "_hash",
        "_publish_at",
        "_ring",
        "_signals",
        "blocked",
        "blocked_at",
        "clock",
        "fault",
        "is_due",
        "on_due",
        "pauses",
        "piece",
        "senders",
        "size",
        "verified",
        "waited_s",
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
        clock: Callable[[], float],
        piece: int = PIECE_BYTES,
    ) -> None:
        self._digest = digest
        self._hash = digest.new_hash()
        self._signals = signals
        self.size = size
        self.piece = max(1, min(piece, len(buffer) // 2))
        self._publish_at = min(self.piece, size)
        self._ring = Ring(buffer, senders, mark=self._publish_at)
        self.senders = tuple(Sender(self, self._ring, index, signals) for index in range(senders))
        self.on_due = on_due
        self.clock = clock
        self.is_due = False
        self.blocked = False
        self.blocked_at = 0.0
        self.pauses = 0
        self.waited_s = 0.0
        self.verified = False
        self.fault: IntegrityError | None = None
        if size == 0:
            self._conclude()

    @property
    def received(self) -> int:
        """Bytes that have come from the source."""
        return self._ring.written

    @property
    def ready(self) -> bool:
        """Whether the ring has drained to its low watermark (half), so that the download is worth un-pausing."""
        return self._ring.free * 2 >= self._ring.capacity

    def waited_until(self, now: float) -> float:
        """`waited_s`, with the pause that is under way at `now`."""
        return self.waited_s + (now - self.blocked_at if self.blocked else 0.0)

    def may_begin_again(self, index: int) -> bool:
        """Whether more than half of the blob is still to be sent there."""
        return 2 * self._ring.taken(index) < self.size

    def receive(self, chunk: memoryview) -> int | None:
        """Libcurl's write callback: take the whole `chunk`, or signal (CURLOPT_WRITEFUNCTION).

        Fifteen of sixteen chunks go the fast way of the ring.
        """
        ring = self._ring
        at = ring.at
        end = at + len(chunk)
        if end < ring.stop:
            ring.buffer[at:end] = chunk
            ring.at = end
            return None
        return self._receive_at_stop(chunk)

    def attend(self) -> tuple[bool, list[int]]:
        """What can be un-paused now: (the download, the uploads by their index). Their flags are reset."""
        self.is_due = False
        resume_download = self.blocked and self.ready
        woken = [sender for sender in self.senders if sender.paused and not sender.stopped and sender.ready]
        if resume_download or woken:
            now = self.clock()
            if resume_download:
                self.blocked = False
                self.waited_s += now - self.blocked_at
            for sender in woken:
                sender.paused = False
                sender.waited_s += now - sender.paused_at
        return resume_download, [sender.index for sender in woken]

    def fall_short(self) -> IntegrityError:
        """The error of a download that ended before all bytes came; also kept as `fault`."""
        self.fault = too_short(self._digest, self.size, self.received)
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
        """Publish what is no whole piece, if somebody waits for it: a slow source must not starve an upload."""
        waits = self.fault is None and self._ring.written > self._ring.published
        if waits and any(sender.paused for sender in self.senders):
            self._publish()

    def release(self) -> None:
        """Give the buffer back."""
        self._ring.release()

    def _receive_at_stop(self, chunk: memoryview) -> int | None:
        """A chunk with which a piece becomes whole, the blob ends, or the ring is full or begins anew.

        A paused chunk is given again later, so nothing of it is kept before there is room for all of it.
        """
        length = len(chunk)
        received = self.received + length
        if received > self.size:
            if self.verified:
                return self._signals.abort_receive  # whatever comes after the last byte does not matter
            return self._refuse(too_long(self._digest, self.size))
        if not self._ring.try_put(chunk, length):
            return self._block()
        return None if received < self._publish_at else self._publish()

    def _publish(self) -> int | None:
        ring = self._ring
        for view in ring.hidden():
            self._hash.update(view)
        if self.received == self.size:
            if not self._conclude():
                return self._signals.abort_receive
            ring.publish(self.size)
            self._signal()
            return None
        self._publish_at = min(self.size, (self.received // self.piece + 1) * self.piece)
        ring.publish(self._publish_at)
        if not self.is_due:
            for sender in self.senders:
                if sender.paused:
                    self._signal()
                    break
        return None

    def _block(self) -> int:
        self.blocked = True
        self.blocked_at = self.clock()
        self.pauses += 1
        if self._ring.written > self._ring.published:
            self._publish()  # or readers that have had all pieces would wait for one that has no room to become whole
        return self._signals.pause_receive

    def _conclude(self) -> bool:
        actual = self._hash.hexdigest()
        if hmac.compare_digest(actual, self._digest.hex):
            self.verified = True
            return True
        self._refuse(wrong_digest(self._digest, actual))
        return False

    def _refuse(self, fault: IntegrityError) -> int:
        self.fault = fault
        self._signal()
        return self._signals.abort_receive

    def _signal(self) -> None:
        if not self.is_due:
            self.is_due = True
            self.on_due()

    def __repr__(self) -> str:
        state = "verified" if self.verified else "faulty" if self.fault else "blocked" if self.blocked else "flowing"
        return f"<Stream {self._digest.short} {self.received}/{self.size} {state} {self._ring!r}>"
