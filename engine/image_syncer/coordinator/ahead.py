"""Which side is ahead, of a tag that has other content at its destination: asked of both, and never guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import SyncError
from image_syncer.oci import Reference
from image_syncer.units import format_moment

if TYPE_CHECKING:
    from image_syncer.coordinator.creation_times import CreationTimes
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.oci import Digest, Manifest

__all__ = ["DESTINATION", "SOURCE", "UNKNOWN", "AheadLooks"]

SOURCE, DESTINATION, UNKNOWN = "source", "destination", "unknown"


class AheadLooks:
    """Two requests a tag; where these do not tell, manifests and configurations are read for the times in them."""

    def __init__(self, discovery: Discovery, times: CreationTimes) -> None:
        self._discovery = discovery
        self._times = times

    async def look(
        self, source: Reference, destination: Reference, planned: Manifest, there: Digest
    ) -> tuple[str, str]:
        """Which side is ahead, and why: `planned` is what the source has, `there` what is at the destination.

        A repository keeps what a tag had before: who has the other's image by its digest, and has one that the other
        has not, has moved on. Else the image that was created later is the newer one, which says what was built last,
        and not what was pushed last.
        """
        try:
            return await self._by_digests(source, destination, planned, there) or await self._by_times(
                source, destination, planned, there
            )
        except SyncError as error:
            return UNKNOWN, f"that could not be found out: {error.message}"

    async def _by_digests(
        self, source: Reference, destination: Reference, planned: Manifest, there: Digest
    ) -> tuple[str, str] | None:
        theirs = await self._discovery.head_source(Reference(source.repository, None, there))
        ours = await self._discovery.head_destination(Reference(destination.repository, None, planned.digest))
        if theirs.digest is not None and ours is None:
            return SOURCE, "it has the destination's image, too, and the destination does not have that of the source"
        if theirs.digest is None and ours is not None:
            return DESTINATION, "it has the source's image, too, and the source does not have that of the destination"
        return None

    async def _by_times(
        self, source: Reference, destination: Reference, planned: Manifest, there: Digest
    ) -> tuple[str, str]:
        at_source = await self._times.of_image(source.repository, planned)
        found = await self._discovery.get_destination(destination.repository, there)
        at_destination = await self._times.of_image(destination.repository, found)
        if at_source is None or at_destination is None:
            silent = "neither image says" if at_source is at_destination else "one of the images does not say"
            return UNKNOWN, f"{silent} when it was created"
        if at_source == at_destination:
            return UNKNOWN, f"both images say that they were created {format_moment(at_source)}"
        if at_source > at_destination:
            return SOURCE, _newer(at_source, DESTINATION, at_destination)
        return DESTINATION, _newer(at_destination, SOURCE, at_source)


def _newer(its: float, other: str, of_other: float) -> str:
    return f"its image was created {format_moment(its)}, that of the {other} {format_moment(of_other)}"
