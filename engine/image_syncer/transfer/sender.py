"""The sender: the upload side of a stream. `Sender.send` is libcurl's read callback, and a part of the hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.transfer.ring import Ring
    from image_syncer.transfer.stream import Stream

__all__ = ["Sender", "Signals"]

MOST_REPEATED_BYTES = 2**20
"""What may go into a connection before it is noticed that the other side had closed it: the buffers of the socket."""


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
    """The upload side of a stream: hands the ring's bytes to one destination, in one request or several.

    `waited_s` is how long it had nothing to send although its destination would have taken it; `pauses` counts.
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
        """Where the next byte for libcurl stands in the blob."""
        return self._ring.taken(self.index)

    @property
    def ready(self) -> bool:
        """Whether it is worth un-pausing: something is published, or the blob has ended."""
        return self._ring.readable(self.index) > 0 or self._stream.verified

    def waited_until(self, now: float) -> float:
        """`waited_s`, with the pause that is under way at `now`."""
        return self.waited_s + (now - self.paused_at if self.paused else 0.0)

    def aim(self, end: int) -> None:
        """A request begins that takes the bytes from `sent` to `end`."""
        self.wake()
        self._begin, self._end = self.sent, end

    def wait(self) -> bool:
        """Whether it is ahead of the source, so that no request should begin yet; `attend` tells when it may."""
        if self._ring.readable(self.index) >= 0:
            return False
        if not self.paused:
            self.paused = True
            self.paused_at = self._stream.clock()
        return True

    def wake(self) -> None:
        """It waits for nothing any more."""
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
        """Begin the request again, on a new connection, as libcurl wants it of a kept one that was closed just then.

        False where so much went out that the registry may have taken some of it: an address is never used twice then.
        """
        return self.sent - self._begin <= MOST_REPEATED_BYTES and self.seek(self._begin)

    def seek(self, position: int) -> bool:
        """Go on at `position`; False where the ring does not have what stands there."""
        return not self.stopped and self._ring.seek(self.index, position)

    def skip(self, position: int) -> None:
        """The destination has what stands before `position`, which may not have come yet."""
        self._ring.skip(self.index, position)
