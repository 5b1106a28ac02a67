"""The plan maker: what a dry run finds is written to a plan file, with what each destination has already."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import AuthenticationError, Origin
from image_syncer.registry import build_head_blob
from image_syncer.telemetry.plan_file import ImageShape, PlannedBlob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor, Digest, Reference, Repository
    from image_syncer.planning import ImageTree
    from image_syncer.telemetry.plan_file import PlanWriter

__all__ = ["PlanMaker"]

_FOUND, _ABSENT = 200, 404


class PlanMaker:
    """Asks destinations, once for each repository and blob, and gives `writer` what they say."""

    def __init__(self, writer: PlanWriter, client: RegistryClient, endpoints: EndpointBook) -> None:
        self._writer = writer
        self._client = client
        self._endpoints = endpoints
        self._asked: dict[tuple[Repository, Digest], asyncio.Future[bool]] = {}

    async def survey(
        self, source: Reference, destination: Reference, tree: ImageTree, blobs: Sequence[Descriptor]
    ) -> None:
        """Find out which of `blobs` of the image `tree` the destination has. Raises SyncError where nobody can tell."""
        there = await asyncio.gather(*(self._ask(destination.repository, blob.digest) for blob in blobs))
        shape = ImageShape(
            len(tree.publish_order()),
            tuple(PlannedBlob(str(blob.digest), blob.size) for blob in blobs),
            frozenset(str(blob.digest) for blob, found in zip(blobs, there, strict=True) if found),
        )
        self._writer.note_shape(str(source), str(destination), shape)

    async def _ask(self, repository: Repository, digest: Digest) -> bool:
        asked = self._asked.get((repository, digest))
        if asked is None:
            asked = self._asked[repository, digest] = asyncio.ensure_future(self._head(repository, digest))
        return await asyncio.shield(asked)

    async def _head(self, repository: Repository, digest: Digest) -> bool:
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        request = build_head_blob(endpoint, repository, digest)
        self._writer.surveyed += 1
        try:
            response = await self._client.send(request, endpoint, origin=Origin.DESTINATION, accept=(_FOUND, _ABSENT))
        except AuthenticationError:
            return False  # as registries answer about repositories that are not there yet
        return response.status == _FOUND
