"""The stream: the bytes of one blob between the download's callback and the uploads' callbacks.

This is the hot path: `receive` runs some 65,000 times a GiB (libcurl hands out at most 16 KiB a call over HTTP/1.1),
`send` once for each piece that goes out. Both are flat, make no events and take no time stamps but when something is
paused. What the state machine (`pipe.py`) must know is left in flags, and `on_due` is called once, until whoever drives
the stream has looked at them.

Chunks are copied into the ring as they come, and hashed and published a piece at a time: one call for a quarter of a
MiB that is still in the core's cache costs less than sixteen (docs/performance.md has the figures).

Why a wrong blob can never be committed: nothing is published before it was hashed, and the last piece is published only
if digest and size are right. An upload that has promised `size` bytes (Content-Length) then never gets its last ones.

A download that breaks goes on where it was: hash and ring are kept. An upload that breaks goes on from the ring; what
is no longer there is read again (`rewind`) from a place at which the state of the hash was kept. Bytes that come a
second time must be those of the first time, since some of the first may have been sent already.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from image_syncer.transfer.faults import changed, too_long, wrong_digest
from image_syncer.transfer.ring import Ring
from image_syncer.transfer.sender import Sender

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable

    from image_syncer.errors import IntegrityError
    from image_syncer.oci import Digest
    from image_syncer.transfer.sender import Signals

__all__ = ["Stream"]

PIECE_BYTES = 256 * 1024
"""What is hashed and sent at once: fewer, larger calls; 256 KiB stays in the core's cache (measured)."""
PATIENCE_S = 1.0
"""How long a download may stand before less room is enough for it to go on."""
IDLE_S = 1.0
"""A side that stood for so long was idle in the eyes of its registry."""
LEAST_SPACING_BYTES = 2**20
MOST_CHECKPOINTS = 256
"""States of the hash that are kept of one blob, some 300 bytes each: what is read again in vain is less than the space
between two.
"""


class Stream:
    """The bytes of one blob: digest fed, ring filled, senders woken. Sizes in bytes.

    `size` is what the descriptor promises. `on_due` is called when something can be un-paused or has ended, from
    inside a callback: it must only take note, because libcurl must not be called from there. `is_due` is reset by
    `attend`. `clock` gives seconds; it is read when a side is paused and when it goes on.

    `waited_s` is how long the download was paused because the ring was full.
    """

    __slots__ = (
        "_checkpoint_at",
        "_checkpoints",
        "_digest",
        "_earlier",
        "_hash",
        "_hurried",
        "_publish_at",
        "_ring",
        "_signals",
        "_spacing",
        "_stood_s",
        "_went_on_at",
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
        self._checkpoints: list[tuple[int, hashlib._Hash]] = [(0, self._hash.copy())]
        self._spacing = self._checkpoint_at = max(LEAST_SPACING_BYTES, size // MOST_CHECKPOINTS)
        self._earlier: list[tuple[int, str]] = []
        self._hurried = False
        self._stood_s = 0.0
        self._went_on_at = 0.0
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
        """Whether the ring has drained to its low watermark (half), so that the download is worth un-pausing; where it
        has to be hurried, whether there is room for a piece.
        """
        free = self._ring.free
        return free * 2 >= self._ring.capacity or (self._hurried and free >= self.piece)

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
                self.begin_receiving()
            for sender in woken:
                sender.paused = False
                sender.waited_s += now - sender.paused_at
        return resume_download, [sender.index for sender in woken]

    def begin_receiving(self) -> None:
        """A download begins, or goes on, at `received`; whatever the one before was waiting for, it waits no more."""
        if self.blocked:
            self.blocked = self._hurried = False
            self._went_on_at = self.clock()
            self._stood_s = self._went_on_at - self.blocked_at
            self.waited_s += self._stood_s

    def stood_idle(self) -> bool:
        """Whether the download stands, or has stood for long until just now."""
        return self.blocked or (self._stood_s >= IDLE_S and self.clock() - self._went_on_at < IDLE_S)

    def read_again_from(self, position: int) -> int:
        """Where the download would have to begin again so that `position` comes once more."""
        return max(at for at, _ in self._checkpoints if at <= position)

    def rewind(self, position: int) -> None:
        """Go back, so that what stands from `position` on comes again; no download may be running.

        Senders that are ahead wait for their next byte.
        """
        ring = self._ring
        if ring.published < self.size:  # the digest of the whole would tell as well
            self._earlier.append((ring.published, self._hash.hexdigest()))
        while self._checkpoints[-1][0] > position:
            self._checkpoints.pop()
        begin, state = self._checkpoints[-1]
        self._hash = state.copy()
        self._checkpoint_at = begin + self._spacing
        self.verified = False
        self._publish_at = self._next_publish(begin)
        ring.begin_at(begin, self._publish_at)
        self.begin_receiving()

    def stop_sender(self, index: int) -> None:
        """One destination is given up: it no longer holds the others back."""
        sender = self.senders[index]
        sender.stopped = True
        sender.paused = False  # nothing that comes later is a reason to wake it
        self._ring.close_reader(index)
        if self.blocked and self.ready:
            self._signal()

    def hurry(self, now: float) -> None:
        """Keep both sides moving: registries drop a connection that is idle. To be called about once a second.

        What is no whole piece is published, if somebody waits for it: a slow source must not starve an upload. And
        where a download stood for longer than `PATIENCE_S`, it goes on as soon as there is room for a piece.
        """
        waits = self.fault is None and self._ring.written > self._ring.published
        if waits and any(sender.paused for sender in self.senders):
            self._publish()
        if self.blocked and now - self.blocked_at >= PATIENCE_S:
            self._hurried = True
            if self.ready:
                self._signal()

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
        if self.fault is not None:
            return self._signals.abort_receive
        if self._earlier and not self._is_as_before():
            return self._refuse(changed(self._digest, self.received))
        for view in ring.hidden():
            self._hash.update(view)
        if self.received == self.size:
            if not self._conclude():
                return self._signals.abort_receive
            ring.publish(self.size)
            self._signal()
            return None
        self._publish_at = self._next_publish(self.received)
        ring.publish(self._publish_at)
        if ring.published >= self._checkpoint_at:
            self._checkpoint_at = ring.published + self._spacing
            self._checkpoints.append((ring.published, self._hash.copy()))
        if not self.is_due:
            for sender in self.senders:
                if sender.paused:
                    self._signal()
                    break
        return None

    def _next_publish(self, position: int) -> int:
        return min(self.size, (position // self.piece + 1) * self.piece)

    def _is_as_before(self) -> bool:
        """Whether what has come again is what came before, as far as that can be told by now."""
        told = [(end, hexdigest) for end, hexdigest in self._earlier if end <= self.received]
        self._earlier = [pair for pair in self._earlier if pair not in told]
        return all(self._hash_until(end) == hexdigest for end, hexdigest in told)

    def _hash_until(self, end: int) -> str:
        hasher, left = self._hash.copy(), end - self._ring.published
        for view in self._ring.hidden():
            hasher.update(view[:left])
            left -= min(left, len(view))
        return hasher.hexdigest()

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
