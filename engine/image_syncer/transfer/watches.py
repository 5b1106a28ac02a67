"""Watches over one stream: which side is silent, and which destination holds the others back. Pure: time comes in as an
argument, in seconds.

One download feeds several uploads through one ring. The slowest upload decides when there is room for more, so the
others can never be further ahead than the ring is large (the window). That is the bound in bytes. `LagWatch` is the
bound in seconds: where the others waited for the slowest for longer, it is split off, and gets the blob by a download
of its own.

What counts is the time in which the source was paused because the ring was full *and* another destination had nothing
to send. It is held against whoever was slowest, and forgiven to the others by as much, so that destinations which take
turns in being slow are left together. One that has more than half of the blob already goes on: it would have to begin
again. How fast the others would be without it cannot be known before it is tried; so one that is only a little slower
is split off too, from a blob that takes long enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.transfer.small_blob import SmallBlob
    from image_syncer.transfer.stream import Stream

__all__ = ["LagWatch", "SilenceWatch"]

LEAST_BYTES_PER_S = 64
"""Over the time of a stall: whoever is slower does not come to an end in any time that a person would wait."""


class SilenceWatch:
    """Remembers when each side moved last. There is no time for the whole of a blob, however large.

    `stall_s` bounds the silence of a side whose turn it is: the time in which it must move `least_bytes` (None:
    `LEAST_BYTES_PER_S`). A destination that has every byte may take `answer_s` to commit them (registries hash and move
    large blobs then).
    """

    def __init__(self, sinks: int, *, stall_s: float, answer_s: float, least_bytes: int | None = None) -> None:
        self._stall_s = stall_s
        self._answer_s = answer_s
        self._least = max(1, int(stall_s * LEAST_BYTES_PER_S)) if least_bytes is None else least_bytes
        self._source = (0, 0.0)
        self._sinks: list[tuple[int, float] | None] = [None] * sinks

    def source_asked(self, progress: int, now: float) -> None:
        """The source was asked, for the first time or once more."""
        self._source = (progress, now)

    def source(self, progress: int, now: float, *, waits: bool) -> float | None:
        """How long the source has sent next to nothing, where that is too long; a download that `waits` for us does
        not count.

        `progress` is a number that grows while bytes come.
        """
        count, since = self._source
        if waits or not count <= progress < count + self._least:
            self._source = (progress, now)
            return None
        silence = now - since
        return silence if silence >= self._stall_s else None

    def sink_begins(self, index: int) -> None:
        """A request to destination `index` is about to begin."""
        self._sinks[index] = None

    def sink(self, stream: Stream | SmallBlob, index: int, now: float, *, waits: bool = False) -> float | None:
        """How long destination `index` has taken next to nothing, where that is too long; an upload that waits for us
        does not count, for bytes or because it `waits` for leave to send them.
        """
        sender = stream.senders[index]
        last = self._sinks[index]
        if last is None or waits or sender.paused or not last[0] <= sender.sent < last[0] + self._least:
            self._sinks[index] = (sender.sent, now)
            return None
        silence = now - last[1]
        bound = self._answer_s if sender.sent >= stream.size else self._stall_s
        return silence if silence >= bound else None


class LagWatch:
    """Watches one stream with several senders; `bound_s` is how long the others may have waited for the slowest."""

    def __init__(self, bound_s: float) -> None:
        self._bound_s = bound_s
        self._blocked_s = 0.0
        self._starved_s: dict[int, float] = {}
        self._held_s: dict[int, float] = {}

    def look(self, stream: Stream, now: float) -> list[int]:
        """The senders that are to be split off now, mostly none; to be called every second or so. `now` in seconds."""
        blocked_s = stream.waited_until(now)
        starved_s = {sender.index: sender.waited_until(now) for sender in stream.senders if not sender.stopped}
        last_blocked_s, self._blocked_s = self._blocked_s, blocked_s
        last_starved_s, self._starved_s = self._starved_s, starved_s
        if len(starved_s) < 2:  # noqa: PLR2004 - nobody else to be held back
            return []
        waits = {index: seconds - last_starved_s.get(index, 0.0) for index, seconds in starved_s.items()}
        held_s = min(blocked_s - last_blocked_s, max(waits.values()))
        for index, waited_s in waits.items():
            # One that waits as well is no cause of it; several that never wait are, in whatever turns they are slowest.
            change = held_s - 2 * min(waited_s, held_s)
            self._held_s[index] = max(0.0, self._held_s.get(index, 0.0) + change)
        if max(self._held_s[index] for index in starved_s) < self._bound_s:
            return []
        behind = [
            index for index in starved_s if 2 * self._held_s[index] >= self._bound_s and stream.may_begin_again(index)
        ]
        return behind if 0 < len(behind) < len(starved_s) else []
