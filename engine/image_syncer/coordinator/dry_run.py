"""What a dry run finds beside the images: the blobs that destinations lack, and which side of a tag has moved on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.errors import AuthenticationError, SyncError
from image_syncer.oci import Reference
from image_syncer.units import format_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.discovery.creation_times import CreationTimes
    from image_syncer.discovery.discovery import Discovery
    from image_syncer.oci import Descriptor, Digest, Manifest, Repository
    from image_syncer.reporting.plan_file import PlanWriter
    from image_syncer.scheduling import ImageTree


SOURCE, DESTINATION, UNKNOWN = "source", "destination", "unknown"


class PlanMaker(Struct):
    """Asks destinations which blobs they have, once for each repository and blob, and writes that to the plan file."""

    writer: PlanWriter
    discovery: Discovery
    asked: dict[tuple[Repository, Digest], asyncio.Future[bool]] = field(default_factory=dict)

    async def survey(
        self, source: Reference, destination: Reference, tree: ImageTree, blobs: Sequence[Descriptor]
    ) -> None:
        """Write which of the `blobs` of `tree` the destination has. Raises SyncError where it does not answer."""
        from image_syncer.reporting.plan_file import ImageShape, PlannedBlob

        there = await asyncio.gather(*(self._has(destination.repository, blob.digest) for blob in blobs))
        shape = ImageShape(
            len(tree.publish_order()),
            tuple(PlannedBlob(str(blob.digest), blob.size) for blob in blobs),
            frozenset(str(blob.digest) for blob, found in zip(blobs, there, strict=True) if found),
        )
        self.writer.note_shape(str(source), str(destination), shape)

    async def _has(self, repository: Repository, digest: Digest) -> bool:
        key = repository, digest
        if key not in self.asked:
            self.asked[key] = asyncio.ensure_future(self._head(*key))
        return await asyncio.shield(self.asked[key])

    async def _head(self, repository: Repository, digest: Digest) -> bool:
        self.writer.surveyed += 1
        try:
            return await self.discovery.blob_size(repository, digest) is not None
        except AuthenticationError:
            return False  # the answer of some registries for a repository that does not exist yet


class AheadLooks(Struct):
    """Finds which side of a tag with different content is ahead: by two requests, then by the times in the images."""

    discovery: Discovery
    times: CreationTimes

    async def look(
        self, source: Reference, destination: Reference, planned: Manifest, there: Digest
    ) -> tuple[str, str]:
        """Return which side is ahead, and why. `planned` is what the source has, `there` what the destination has.

        A repository keeps what a tag had before: a side that has the other's image by its digest, while the other lacks
        its own, has moved on. Else the image that was created later is newer; that says what was built last, and not
        what was pushed last.
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
        theirs = await self.discovery.head_source(Reference(source.repository, None, there))
        ours = await self.discovery.head_destination(Reference(destination.repository, None, planned.digest))
        if theirs.digest is not None and ours is None:
            return SOURCE, "it has the destination's image, too, and the destination does not have that of the source"
        if theirs.digest is None and ours is not None:
            return DESTINATION, "it has the source's image, too, and the source does not have that of the destination"
        return None

    async def _by_times(
        self, source: Reference, destination: Reference, planned: Manifest, there: Digest
    ) -> tuple[str, str]:
        at_source = await self.times.of_image(source.repository, planned)
        found = await self.discovery.get_destination(Reference(destination.repository, None, there))
        at_destination = await self.times.of_image(destination.repository, found)
        if at_source is None or at_destination is None:
            silent = "neither image says" if at_source is at_destination else "one of the images does not say"
            return UNKNOWN, f"{silent} when it was created"
        if at_source == at_destination:
            return UNKNOWN, f"both images say that they were created {format_moment(at_source)}"
        newer, older = (SOURCE, DESTINATION) if at_source > at_destination else (DESTINATION, SOURCE)
        first, last = (format_moment(moment) for moment in sorted((at_source, at_destination)))
        return newer, f"its image was created {last}, that of the {older} {first}"
