"""Stream: the bytes of one blob between the callback of its download and the callbacks of its uploads.

This is the hot path: `receive` runs some 65,000 times a GiB (libcurl hands out at most 16 KiB a call over HTTP/1.1),
`send` once for each piece. Both are flat, make no events, and read the clock only when something is paused. Chunks are
hashed and published a piece at a time: one call for a quarter of a MiB in the core's cache costs less than sixteen
(docs/performance.md). A wrong blob is never committed: nothing is published before it was hashed, and the last piece
only if digest and size are right, so an upload never gets the last of its `size` bytes (Content-Length).

A `SmallBlob` is downloaded whole and verified before it is sent. It has the same two callbacks, without ring, pauses
and pieces.

The errors of wrong bytes and the tries of one side (`Resumption`) are here too.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, Origin
from image_syncer.scheduling import Tries
from image_syncer.transfer.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.errors import SyncError
    from image_syncer.oci import Digest
    from image_syncer.scheduling import RetryPolicy


class Resumption:
    """Counts the breaks of one side since its last progress: only these use up the tries and the time of `policy`.

    `chance` gives a uniform number in [0, 1), `clock` seconds. Sizes in bytes.
    """

    def __init__(self, policy: RetryPolicy, chance: Callable[[], float], clock: Callable[[], float]) -> None:
        self._policy = policy
        self._chance = chance
        self._clock = clock
        self._tries: Tries | None = None
        self._furthest = 0

    def advanced_to(self, position: int, size: int) -> None:
        """The side has the first `position` of `size` bytes."""
        if position - self._furthest >= max(1, min(MOST_PROGRESS_BYTES, size // PROGRESS_PART)):
            self._furthest = position
            self._tries = None

    def pause_s(self, error: SyncError) -> float:
        """Return the seconds until the side, which broke off with `error`, is resumed. Raises the error with its tries
        where it is given up.
        """
        now = self._clock()
        tries = self._tries or Tries(now)
        pause = self._policy.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
        self._tries = tries.plus(error, now, pause)
        if pause is None:
            raise self._tries.write_on(error)
        return pause


DAMAGED_HINT = "The blob is damaged at the source, or on the way; nothing of it was committed at the destination."


def changed(digest: Digest, end: int) -> IntegrityError:
    """The bytes before `end` differ from those of the first time."""
    what = f"the source sent other bytes than before when the first {end} bytes of the blob were read again"
    return _fault(what, digest, DAMAGED_HINT)


def too_long(digest: Digest, size: int) -> IntegrityError:
    """The source sends more than `size` bytes."""
    what = f"the source sends more than the {size} bytes that the manifest names"
    return _fault(what, digest, DAMAGED_HINT, expected=f"{size} bytes")


def too_short(digest: Digest, size: int, received: int) -> IntegrityError:
    """The download ended after `received` of `size` bytes."""
    what = f"the source ended the blob after {received} of {size} bytes"
    return _fault(what, digest, None, expected=f"{size} bytes", actual=f"{received} bytes")


def wrong_digest(digest: Digest, actual_hex: str) -> IntegrityError:
    """All bytes have come, and have another digest."""
    what = "the source's bytes do not have the digest that the manifest names"
    return _fault(what, digest, DAMAGED_HINT, expected=digest, actual=f"{digest.algorithm}:{actual_hex}")


def _fault(
    what: str, digest: Digest, hint: str | None, *, expected: str | None = None, actual: str | None = None
) -> IntegrityError:
    return IntegrityError(
        what, origin=Origin.SOURCE, digest=digest, expected=expected, actual=actual, hint=hint, retryable=True
    )


MOST_REPEATED_BYTES = 2**20
"""What may go into a connection before it is noticed that the other side had closed it: the buffers of the socket."""
PIECE_BYTES = 256 * 1024
"""What is hashed and sent at once: fewer, larger calls; 256 KiB stays in the core's cache (measured)."""
PATIENCE_S = 1.0
"""How long a download may be paused before less room is enough to resume it."""
IDLE_S = 1.0
"""A side that was paused for so long was idle in the eyes of its registry."""
LEAST_SPACING_BYTES = 2**20
MOST_CHECKPOINTS = 256
"""States of the hash that are kept of one blob, some 300 bytes each: less than the space between two is read again in
vain.
"""


class Signals:
    """What the callbacks return to libcurl, given from outside so that this room does not import it.

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
    """The upload side of a stream: hands the ring's bytes to one destination, in one request or several.

    `waited_s` is how long it was paused because it had nothing to send; `pauses` counts the pauses.
    """

    __slots__ = (
        "_begin",
        "_end",
        "_ring",
        "_signals",
        "_stream",
        "index",
        "paused",
        "paused_at",
        "pauses",
        "stopped",
        "waited_s",
    )

    def __init__(self, stream: Stream, ring: Ring, index: int, signals: Signals) -> None:
        self._stream = stream
        self._ring = ring
        self._signals = signals
        self._begin = 0
        self._end = stream.size
        self.index = index
        self.paused = False
        self.paused_at = 0.0
        self.pauses = 0
        self.stopped = False
        self.waited_s = 0.0

    @property
    def sent(self) -> int:
        """The position of the next byte for libcurl."""
        return self._ring.taken(self.index)

    @property
    def ready(self) -> bool:
        """Whether to un-pause it: something is published, or the blob has ended."""
        return self._ring.readable(self.index) > 0 or self._stream.verified

    def waited_until(self, now: float) -> float:
        """`waited_s`, with the pause that is under way at `now`."""
        return self.waited_s + (now - self.paused_at if self.paused else 0.0)

    def aim(self, end: int) -> None:
        """A request for the bytes from `sent` to `end` begins."""
        self.wake()
        self._begin, self._end = self.sent, end

    def wait(self) -> bool:
        """Whether it is ahead of the source: the next request begins when `attend` returns it."""
        if self._ring.readable(self.index) >= 0:
            return False
        if not self.paused:
            self.paused = True
            self.paused_at = self._stream.clock()
        return True

    def wake(self) -> None:
        """End the pause."""
        if self.paused:
            self.paused = False
            self.waited_s += self._stream.clock() - self.paused_at

    def send(self, most: int) -> memoryview | bytes | int:
        """Libcurl's read callback: up to `most` bytes, or a signal (CURLOPT_READFUNCTION)."""
        if self.stopped:
            return self._signals.abort_send
        stream = self._stream
        left = self._end - self._ring.taken(self.index)
        view = self._ring.take(self.index, min(most, left))
        if not view and left > 0:
            self.paused = True
            self.paused_at = stream.clock()
            self.pauses += 1
            return self._signals.pause_send
        if stream.blocked and not stream.is_due and stream.ready:
            stream.is_due = True
            stream.on_due()
        return view

    def rewind(self) -> bool:
        """Begin the request again on a new connection, where the server closed a kept one just then.

        False where the registry may have taken some of the bytes: an address is never used twice then.
        """
        return self.sent - self._begin <= MOST_REPEATED_BYTES and self.seek(self._begin)

    def seek(self, position: int) -> bool:
        """Continue at `position`; False where the ring no longer has it."""
        return not self.stopped and self._ring.seek(self.index, position)

    def skip(self, position: int) -> None:
        """The destination has the bytes before `position`, which may not have come yet."""
        self._ring.skip(self.index, position)


class Stream:
    """The bytes of one blob: feeds the digest, fills the ring, wakes the senders. Sizes in bytes.

    `size` is that of the descriptor. `on_due` is called when something can be un-paused or has ended, from inside a
    callback: it must only take note, because libcurl must not be called from there. `attend` resets `is_due`. `clock`
    gives seconds. `waited_s` is how long the download was paused because the ring was full.

    A download that breaks off is resumed where it was, and an upload from the ring. What the ring no longer has is read
    again (`rewind`) from a place at which the state of the hash was kept. Bytes that come a second time must be those
    of the first time, since some of the first may have been sent already.
    """

    largest_piece = PIECE_BYTES

    __slots__ = (
        "_checkpoint_at",
        "_checkpoints",
        "_digest",
        "_earlier",
        "_hash",
        "_hurried",
        "_paused_s",
        "_publish_at",
        "_resumed_at",
        "_ring",
        "_signals",
        "_spacing",
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
    ) -> None:
        self._digest = digest
        self._hash = digest.new_hash()
        self._signals = signals
        self._checkpoints: list[tuple[int, hashlib._Hash]] = [(0, self._hash.copy())]
        self._spacing = self._checkpoint_at = max(LEAST_SPACING_BYTES, size // MOST_CHECKPOINTS)
        self._earlier: list[tuple[int, str]] = []
        self._hurried = False
        self._paused_s = 0.0
        self._resumed_at = 0.0
        self.size = size
        self.piece = max(1, min(self.largest_piece, len(buffer) // 2))
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
        """Whether to un-pause the download: the ring has drained to its low watermark (half), or where the download is
        hurried, there is room for a piece.
        """
        free = self._ring.free
        return free * 2 >= self._ring.capacity or (self._hurried and free >= self.piece)

    def waited_until(self, now: float) -> float:
        """`waited_s`, with the pause that is under way at `now`."""
        return self.waited_s + (now - self.blocked_at if self.blocked else 0.0)

    def may_begin_again(self, index: int) -> bool:
        """Whether more than half of the blob has still to be sent to a destination."""
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
        """What to un-pause now: the download or not, and the uploads by their index. Their flags are reset."""
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
        """A download begins, or is resumed, at `received`, and is not paused."""
        if self.blocked:
            self.blocked = self._hurried = False
            self._resumed_at = self.clock()
            self._paused_s = self._resumed_at - self.blocked_at
            self.waited_s += self._paused_s

    def was_idle(self) -> bool:
        """Whether the download is paused, or was for long until just now."""
        return self.blocked or (self._paused_s >= IDLE_S and self.clock() - self._resumed_at < IDLE_S)

    def read_again_from(self, position: int) -> int:
        """From where the download has to begin again so that `position` comes once more."""
        return max(at for at, _ in self._checkpoints if at <= position)

    def rewind(self, position: int) -> None:
        """Go back, so that the bytes from `position` on come again; no download may be running.

        Senders that are ahead wait for their next byte.
        """
        ring = self._ring
        if ring.published < self.size:  # else the digest of the whole shows it
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
        """Give one destination up: it no longer holds the others back."""
        sender = self.senders[index]
        sender.stopped = True
        sender.paused = False  # nothing that comes later is a reason to wake it
        self._ring.close_reader(index)
        if self.blocked and self.ready:
            self._signal()

    def hurry(self, now: float) -> None:
        """Keep both sides moving: registries drop a connection that is idle. To be called about once a second.

        Less than a piece is published where an upload waits for it: a slow source must not starve it. A download that
        was paused for longer than `PATIENCE_S` is resumed as soon as there is room for a piece.
        """
        waits = self.fault is None and self._ring.written > self._ring.published
        if waits and any(sender.paused for sender in self.senders):
            self._publish()
        if self.blocked and now - self.blocked_at >= PATIENCE_S:
            self._hurried = True
            if self.ready:
                self._signal()

    def release(self) -> None:
        """Release the buffer."""
        self._ring.release()

    def _receive_at_stop(self, chunk: memoryview) -> int | None:
        """Take a chunk that completes a piece or the blob, fills the ring, or wraps it.

        libcurl gives a paused chunk again later, so nothing of it is kept before there is room for all of it.
        """
        length = len(chunk)
        received = self.received + length
        if received > self.size:
            if self.verified:
                return self._signals.abort_receive  # what comes after the last byte does not matter
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
        """Whether the bytes that came again are those that came before, as far as they have come."""
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
            self._publish()  # else readers would wait for a piece that has no room to be completed
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


class SmallBlobSender:
    """Hands the bytes of a `SmallBlob` to one destination; `sent` counts them."""

    __slots__ = ("_bytes", "sent")

    paused = False
    """It never waits for the source."""

    def __init__(self, content: memoryview) -> None:
        self._bytes = content
        self.sent = 0

    def send(self, most: int) -> memoryview:
        """Libcurl's read callback: up to `most` bytes (CURLOPT_READFUNCTION)."""
        view = self._bytes[self.sent : self.sent + most]
        self.sent += len(view)
        return view

    def rewind(self) -> bool:
        """Begin again with the first byte, on a new connection."""
        self.sent = 0
        return True


class SmallBlob:
    """The bytes of one blob in a lent buffer that can be written, of at least `size` bytes. They can be sent to any
    number of destinations, and again from the first byte where a connection was lost.

    `verified` says that all bytes have come and have the digest; `fault` is the error of wrong bytes.
    """

    __slots__ = ("_content", "_digest", "_signals", "fault", "received", "senders", "size", "verified")

    blocked = False
    """The download is never paused: there is room for the whole blob."""

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
            self.receive(self._content)

    def receive(self, chunk: memoryview) -> int | None:
        """Libcurl's write callback: take the whole `chunk`, or end the download (CURLOPT_WRITEFUNCTION)."""
        begin = self.received
        end = begin + len(chunk)
        if end > self.size:
            self.fault = too_long(self._digest, self.size)
            return self._signals.abort_receive
        self._content[begin:end] = chunk
        self.received = end
        if end < self.size:
            return None
        actual = hashlib.new(self._digest.algorithm, self._content).hexdigest()
        if hmac.compare_digest(actual, self._digest.hex):
            self.verified = True
            return None
        self.fault = wrong_digest(self._digest, actual)
        return self._signals.abort_receive

    def begin_receiving(self) -> None:
        """A download begins, or is resumed, at `received`."""

    def release(self) -> None:
        """Give the buffer back."""
        self._content.release()

    def __repr__(self) -> str:
        state = "verified" if self.verified else "faulty" if self.fault else "incomplete"
        return f"<SmallBlob {self._digest.short} {self.received}/{self.size} {state}>"


MOST_PROGRESS_BYTES = 64 * 1024
PROGRESS_PART = 32
"""This part of a blob, or `MOST_PROGRESS_BYTES`, is progress: with less in each connection it would never end."""
