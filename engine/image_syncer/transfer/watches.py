"""Watches over one stream: which side is silent, and which destination holds the others back.

Pure: time comes in as an argument, in seconds.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.transfer.stream import SmallBlob, Stream


LEAST_BYTES_PER_S = 64
"""Over the time of a stall; a slower side would not end in any time that a user would wait."""


class SilenceWatch:
    """Notes when each side moved last. The time of a whole blob is not bounded.

    Within `stall_s` a side that does not wait for the other must move `least_bytes` (None: `LEAST_BYTES_PER_S`). A
    destination that has every byte may take `answer_s` to commit them: registries hash and move large blobs then.
    """

    def __init__(self, sinks: int, *, stall_s: float, answer_s: float, least_bytes: int | None = None) -> None:
        self._stall_s = stall_s
        self._answer_s = answer_s
        self._least = max(1, int(stall_s * LEAST_BYTES_PER_S)) if least_bytes is None else least_bytes
        self._source = (0, 0.0)
        self._sinks: list[tuple[int, float] | None] = [None] * sinks

    def source(self, progress: int, now: float, *, asked: tuple[int, float], waits: bool) -> float | None:
        """For how long the source has sent next to nothing, where that is too long; None while it `waits` for uploads.

        `progress` is a number that grows while bytes come; `asked` is what it was when the last request began, and the
        time.
        """
        count, since = self._source = max(self._source, asked, key=itemgetter(1))
        if waits or not count <= progress < count + self._least:
            self._source = (progress, now)
            return None
        silence = now - since
        return silence if silence >= self._stall_s else None

    def sink_begins(self, index: int) -> None:
        """A request to destination `index` is about to begin."""
        self._sinks[index] = None

    def sink(self, stream: Stream | SmallBlob, index: int, now: float, *, waits: bool = False) -> float | None:
        """For how long destination `index` has taken next to nothing, where that is too long. An upload that is paused,
        or that `waits` for the limit of bytes per second, does not count.
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
    """Finds destinations that hold the others back; `bound_s` is how long the others may wait for the slowest.

    One ring feeds all uploads, so none can be ahead of the slowest by more than the window. Counted is the time in
    which the source was paused because the ring was full *and* another destination had nothing to send. It is added
    to the slowest and taken from the others, so that destinations which take turns in being slow stay together. One
    that has more than half of the blob already stays: it would have to begin again. How fast the others would be alone
    is not known, so one that is only a little slower is split off too, from a blob that takes long enough.
    """

    def __init__(self, bound_s: float) -> None:
        self._bound_s = bound_s
        self._blocked_s = 0.0
        self._starved_s: dict[int, float] = {}
        self._held_s: dict[int, float] = {}

    def look(self, stream: Stream, now: float) -> list[int]:
        """The senders to split off now, mostly none; to be called every second or so. `now` in seconds."""
        blocked_s = stream.waited_until(now)
        starved_s = {sender.index: sender.waited_until(now) for sender in stream.senders if not sender.stopped}
        last_blocked_s, self._blocked_s = self._blocked_s, blocked_s
        last_starved_s, self._starved_s = self._starved_s, starved_s
        if len(starved_s) < 2:  # noqa: PLR2004 - no other to be held back
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
