"""Silence: which side of a pipe moves nothing although it is its turn. Pure: time comes in as an argument, in
seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.transfer import SmallBlob, Stream

__all__ = ["SilenceWatch"]


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
