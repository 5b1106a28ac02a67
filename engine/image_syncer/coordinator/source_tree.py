"""The manifests under one root at its source, read together, and no more of them than an image may have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, ProtocolViolation, SyncError
from image_syncer.planning import MAX_DEPTH, MAX_MANIFESTS, ImageTree

if TYPE_CHECKING:
    from image_syncer.coordinator.manifest_reads import ManifestReads
    from image_syncer.oci import Descriptor, Digest, Manifest, Repository

__all__ = ["SourceTree", "hostile"]

MAX_TREE_BYTES = 64 * 2**20
"""Of all manifests under one tag, which are in memory together; the largest official images have some 100 KiB."""


class SourceTree:
    """Reads what is under one root, each manifest once; `indexes` are those that are known already, by their digests as
    they are named.
    """

    def __init__(self, reads: ManifestReads, repository: Repository, indexes: dict[Digest, Manifest]) -> None:
        self._reads = reads
        self._repository = repository
        self._indexes = indexes
        self._trees: dict[Digest, asyncio.Task[ImageTree]] = {}
        self._bytes = 0

    async def read(self, root: Manifest) -> ImageTree:
        """All of it. Raises ProtocolViolation where it is more than an image has."""
        try:
            return await self._tree(root, depth=0)
        finally:
            for task in self._trees.values():
                task.cancel()
            await asyncio.gather(*self._trees.values(), return_exceptions=True)

    async def _tree(self, manifest: Manifest, depth: int) -> ImageTree:
        if depth > MAX_DEPTH:
            raise hostile(self._repository, manifest, f"indexes are nested more than {MAX_DEPTH} deep")
        children = []
        for child in manifest.children:
            if child.digest not in self._trees:
                if len(self._trees) >= MAX_MANIFESTS:
                    raise hostile(self._repository, manifest, f"more than {MAX_MANIFESTS} manifests are under it")
                self._trees[child.digest] = asyncio.ensure_future(self._child(child, depth + 1))
            children.append(self._trees[child.digest])
        return ImageTree(manifest, tuple(await asyncio.gather(*children)))

    async def _child(self, child: Descriptor, depth: int) -> ImageTree:
        manifest = self._indexes.get(child.digest) or await self._reads.get_child(self._repository, child)
        self._bytes += len(manifest.raw)
        if self._bytes > MAX_TREE_BYTES:
            what = f"the manifests beside it have more than {MAX_TREE_BYTES} bytes"
            raise hostile(self._repository, manifest, what)
        return await self._tree(manifest, depth)


def hostile(repository: Repository, manifest: Manifest, what: str) -> SyncError:
    """An index that no builder makes."""
    return ProtocolViolation(
        f"the index cannot be used: {what}",
        origin=Origin.SOURCE,
        operation="get manifest",
        repository=str(repository),
        reference=str(manifest.digest),
    )
