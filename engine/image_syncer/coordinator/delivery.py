"""A delivery: one image on its way to one destination, from the moment its blobs are wanted until all are there."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from image_syncer.planning import Arrival, BlobLanded

if TYPE_CHECKING:
    from image_syncer.errors import SyncError
    from image_syncer.oci import Digest

__all__ = ["Delivery"]


class Delivery:
    """Counts the blobs of one image that are still missing at one destination."""

    def __init__(self, identity: int, missing: set[Digest], image: tuple[str, str] = ("", "")) -> None:
        self.image = image
        """Its source and its destination, by name."""
        self._how: dict[Digest, Arrival] = {}
        self.bytes_moved = 0
        self.tries = 1
        self.begin(identity, missing)

    def begin(self, identity: int, missing: set[Digest]) -> None:
        """These blobs are missing; what is said of another `identity` is not of them. May be called again, where blobs
        that should have been there were not.
        """
        self.id = identity
        self._missing = missing
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not missing:
            self._settled.set_result(None)

    async def settled(self) -> None:
        """Returns when every blob is at the destination; raises the `SyncError` of the first that cannot be brought
        there.
        """
        await self._settled

    def on_landed(self, landed: BlobLanded) -> None:
        """A blob is there."""
        if landed.digest not in self._missing:
            return
        self._missing.discard(landed.digest)
        # One that was sent, and is asked for again, is there now; that it was sent is what counts.
        if self._how.get(landed.digest, Arrival.PRESENT) is Arrival.PRESENT:
            self._how[landed.digest] = landed.arrival
        self.bytes_moved += landed.bytes_moved
        self.tries = max(self.tries, landed.tries)
        if not self._missing and not self._settled.done():
            self._settled.set_result(None)

    def on_failed(self, error: SyncError) -> None:
        """A blob cannot be brought there."""
        if not self._settled.done():
            self._settled.set_exception(error)

    def facts(self) -> dict[str, Any]:
        """What was moved for it, for the report."""
        arrivals = Counter(self._how.values())
        return {
            "bytes_moved": self.bytes_moved,
            "blobs_moved": arrivals[Arrival.MOVED],
            "blobs_mounted": arrivals[Arrival.MOUNTED],
            "blobs_present": arrivals[Arrival.PRESENT],
        }
