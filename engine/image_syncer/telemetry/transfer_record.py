"""TransferRecord: what one worker did with one blob, and when; the report keeps one for each job that ended."""

from __future__ import annotations

from typing import Any

from image_syncer.units import mean_rate
from image_syncer.values import Value

__all__ = ["TRANSFER_OUTCOMES", "TransferRecord"]

TRANSFER_OUTCOMES = ("moved", "mounted", "present", "failed", "split off")
"""What may become of a blob at one destination; what was split off goes there in a transfer of its own."""

_BY_WEIGHT = ("failed", "moved", "mounted", "present", "split off")

_DIGITS = 6
"""Of a second: where libcurl and the loop find out that something ended, is no finer than that."""


class TransferRecord(Value, frozen=True):
    """One blob from one source to its destinations, in one worker. Sizes are bytes, -1 is an unknown `size_bytes`.

    `source` and `destinations` are repositories with their registries; `outcomes` are `TRANSFER_OUTCOMES`, one for each
    destination. Times are seconds since the run began. `bytes_moved` went to all destinations together. `pauses` counts
    how often the download was stopped because the ring was full, and `source_waited_s` is how long it then stood: the
    destination is the slow side. `destination_waited_s` is how long uploads had nothing to send: the source is the slow
    side. `source_resumes` and `destination_resumes` count how often a side broke off and went on.
    """

    digest: str
    size_bytes: int
    source: str
    destinations: tuple[str, ...]
    worker: int
    began_s: float
    ended_s: float
    bytes_moved: int
    outcomes: tuple[str, ...]
    source_waited_s: float = 0.0
    destination_waited_s: float = 0.0
    pauses: int = 0
    source_resumes: int = 0
    destination_resumes: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s

    @property
    def bytes_per_s(self) -> float:
        """Bytes that moved to all destinations in a second; 0 where it took no time at all."""
        return mean_rate(self.bytes_moved, self.seconds)

    @property
    def outcome(self) -> str:
        """One word for the whole: what went worst counts, and moving counts more than not having to move."""
        return next(word for word in _BY_WEIGHT if word in self.outcomes)

    def as_data(self) -> dict[str, Any]:
        """The record as plain data for the JSON report."""
        return {
            "digest": self.digest,
            "size_bytes": self.size_bytes,
            "source": self.source,
            "destinations": list(self.destinations),
            "worker": self.worker,
            "began_s": round(self.began_s, _DIGITS),
            "ended_s": round(self.ended_s, _DIGITS),
            "bytes_moved": self.bytes_moved,
            "outcomes": list(self.outcomes),
            "source_waited_s": round(self.source_waited_s, _DIGITS),
            "destination_waited_s": round(self.destination_waited_s, _DIGITS),
            "pauses": self.pauses,
            "source_resumes": self.source_resumes,
            "destination_resumes": self.destination_resumes,
        }
