"""The publisher: manifests go out when everything that they name is there. Children first, then the index, then the
tag.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import Origin
from image_syncer.net import share, shared_result
from image_syncer.registry import build_put_manifest, parse_put_manifest
from image_syncer.registry.referrers import takes_subject

if TYPE_CHECKING:
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Manifest, Reference, Repository
    from image_syncer.planning import ImageTree, KnownBlobs

__all__ = ["Publisher"]

_ACCEPTED = (200, 201, 202, 204)


class Publisher:
    """PUTs manifests. A child that several images of one repository share is put once in a run.

    `children` remember which were put. They are not those of the blobs: that a repository has a manifest does not say
    that it has a blob of the same bytes.
    """

    def __init__(self, client: RegistryClient, endpoints: EndpointBook, children: KnownBlobs) -> None:
        self._client = client
        self._endpoints = endpoints
        self._children = children
        self.lists_referrers: dict[Repository, bool] = {}
        """Whether a repository lists the referrers of its manifests, as its registry said of the last that was put."""
        self._running: dict[tuple[Repository, Digest], asyncio.Future[None]] = {}

    async def publish(self, tree: ImageTree, destination: Reference) -> None:
        """Every manifest of `tree`, the root last and under its tag, or its digest where there is none; its blobs must
        be there.
        """
        await self._put_children(destination.repository, tree)
        await self.put(destination.repository, tree.manifest, destination.tag or str(tree.manifest.digest))

    async def _put_children(self, repository: Repository, tree: ImageTree) -> None:
        await asyncio.gather(*(self._put_tree(repository, child) for child in tree.children))

    async def _put_tree(self, repository: Repository, tree: ImageTree) -> None:
        key = (repository, tree.manifest.digest)
        if self._children.has(*key):
            return
        running = self._running.get(key)
        if running is None:
            running = share(self._put_child(repository, tree))
            self._running[key] = running
            running.add_done_callback(lambda done: self._on_done(key, done))
        await shared_result(running)

    async def _put_child(self, repository: Repository, tree: ImageTree) -> None:
        await self._put_children(repository, tree)
        await self.put(repository, tree.manifest, str(tree.manifest.digest))

    def _on_done(self, key: tuple[Repository, Digest], done: asyncio.Future[None]) -> None:
        del self._running[key]
        if not done.cancelled() and done.exception() is None:
            self._children.add(*key)

    async def put(self, repository: Repository, manifest: Manifest, target: str) -> None:
        """One manifest, as it is, under `target`: a tag or its digest. What it names has to be there."""
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        request = build_put_manifest(endpoint, repository, target, manifest.media_type, manifest.raw)
        response = await self._client.send(
            request,
            endpoint,
            origin=Origin.DESTINATION,
            accept=_ACCEPTED,
            check=lambda response: parse_put_manifest(response, manifest.digest),
        )
        if manifest.subject is not None:
            self.lists_referrers[repository] = takes_subject(response)
