"""What blobs there are to be moved, and what of them has an outcome: counted as it happens, by the way that they take
from one registry to another, so that whoever asks how much is left needs to look at no blob.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from image_syncer.planning.blob_set import Target

__all__ = ["Way", "WayCount", "WorkCount"]

Way: TypeAlias = "tuple[str, str]"
"""The registries from which and to which something goes."""


class WayCount(Struct):
    """Of one way, what was wanted so far and what of it `ended`: blobs that take a request or a few (mounts, and what
    is sent as a whole), and the bytes of the others, which are streamed. `small_bytes` are those of the former, and
    `largest` is the largest of the latter.
    """

    small: int = 0
    small_ended: int = 0
    small_bytes: int = 0
    small_bytes_ended: int = 0
    streamed_bytes: int = 0
    streamed_bytes_ended: int = 0
    largest: int = 0


class WorkCount:
    """Counts targets. A blob is small if at most `small_bytes` of it are expected to move; None: if none are."""

    def __init__(self, small_bytes: int | None = None) -> None:
        self.small_bytes = small_bytes
        self.ways: dict[Way, WayCount] = {}

    def want(self, target: Target) -> None:
        """`target` is wanted, and what it moves is booked."""
        way = target.source.registry, target.repository.registry
        count = self.ways.get(way)
        if count is None:
            count = self.ways[way] = WayCount()
        if target.booked_bytes <= (self.small_bytes or 0):
            count.small += 1
            count.small_bytes += target.booked_bytes
        else:
            count.streamed_bytes += target.booked_bytes
            count.largest = max(count.largest, target.booked_bytes)

    def end(self, target: Target) -> None:
        """`target` has an outcome."""
        count = self.ways[target.source.registry, target.repository.registry]
        if target.booked_bytes <= (self.small_bytes or 0):
            count.small_ended += 1
            count.small_bytes_ended += target.booked_bytes
        else:
            count.streamed_bytes_ended += target.booked_bytes
