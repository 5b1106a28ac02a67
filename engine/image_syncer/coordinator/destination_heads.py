"""DestinationHeads: what is at the destinations of an image now, asked at all of them at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import AuthenticationError, Origin, SyncError
from image_syncer.oci import Digest, Reference

if TYPE_CHECKING:
    from image_syncer.coordinator.conflicts import Conflicts
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.coordinator.preparation import Preparation

__all__ = ["DestinationHeads", "Look"]

Look = tuple[Reference, asyncio.Task[Digest | None]]
"""A destination, and the question what is there."""


class DestinationHeads:
    """Begins and ends them for all images of a run. A repository that is to be created is, where a registry does not
    let one look that is not there; not so in a dry run.
    """

    def __init__(
        self, discovery: Discovery, conflicts: Conflicts, preparation: Preparation | None, *, dry_run: bool
    ) -> None:
        creates = preparation is not None and preparation.creates
        self._discovery = discovery
        self._preparation = None if dry_run else preparation
        self._head = self._head_or_create if creates else discovery.head_destination
        self._surely = not conflicts.overwrites
        self._create_task = asyncio.get_running_loop().create_task

    def begin(self, destinations: list[Reference], *, surely: bool = False) -> list[Look]:
        """One task for each of `destinations`: whoever begins them ends or abandons them. With `surely`, what is not
        found there is not there, whatever is done about conflicts.
        """
        create_task, head, surely = self._create_task, self._head, surely or self._surely
        return [(destination, create_task(head(destination, surely=surely))) for destination in destinations]

    async def _head_or_create(self, destination: Reference, *, surely: bool) -> Digest | None:
        """What is at a destination. Harbor does not let everybody see that a project is missing: it forbids to look."""
        try:
            return await self._discovery.head_destination(destination, surely=surely)
        except AuthenticationError:
            if self._preparation is None or not await self._preparation.create(destination.repository):
                raise
        return await self._discovery.head_destination(destination, surely=surely)

    async def end(self, image: OpenImage, looks: list[Look]) -> dict[Reference, Digest | None]:
        """What is at the destinations now; a destination of `image` whose look fails ends so."""
        present: dict[Reference, Digest | None] = {}
        for destination, look in looks:
            try:
                present[destination] = await look
            except SyncError as error:  # noqa: PERF203 - each has its own
                error.origin = Origin.DESTINATION
                error.located(repository=str(destination.repository), reference=destination.target)
                image.fail(destination, error)
        return present

    def abandon(self, looks: list[Look]) -> None:
        """What has not ended is not wanted any more; and whatever became of the rest, nobody asks."""
        for _, look in looks:
            if not look.done():
                look.cancel()
            elif not look.cancelled():
                look.exception()

    async def retarget(self, image: OpenImage, digest: Digest) -> dict[Reference, Digest | None]:
        """Destinations that are named by digest get the digest of the rewritten index; whether it is there is asked."""
        looks = self.begin(image.rename(digest))
        try:
            return await self.end(image, looks)
        finally:
            self.abandon(looks)
