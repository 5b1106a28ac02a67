"""Creation times of images: reads manifest and configuration of many tags, a few at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.discovery.discovery import Discovery
from image_syncer.oci import Digest, ManifestKind, Reference
from image_syncer.oci.manifest import created_of_config, created_of_schema1
from image_syncer.scheduling import MAX_DEPTH
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor, Manifest, Repository


AT_ONCE = 16
"""Tags that are read together, within the registry's own limits."""
MOST_KEPT = 65_536
"""Images whose time is kept, since many tags share one; some 150 bytes each."""
MANY = 100
"""From so many tags of one repository on, the cost is a warning. Repositories with fewer tags give a warning when their
sum comes to so many, and with every tenfold of that.
"""

_log = get_logger(__name__)


class CreationTimes:
    """Asks source registries, and keeps the answers for the run."""

    def __init__(self, client: RegistryClient, endpoints: EndpointBook) -> None:
        self._discovery = Discovery(client, endpoints)
        self._known: dict[Digest, float | None] = {}
        self._asked = 0
        self._next_told = MANY

    async def find(self, repository: Repository, tags: Sequence[str]) -> dict[str, float | None]:
        """When the image of each tag was created, in seconds since 1970; None where it does not say. The first image of
        an index counts. Raises the first `SyncError` of a tag. The cost is logged before the first request.
        """
        self._tell_cost(repository, len(tags))
        times: dict[str, float | None] = {}
        left = iter(tags)
        workers = [asyncio.ensure_future(self._work(repository, left, times)) for _ in range(min(AT_ONCE, len(tags)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        undated = sum(time is None for time in times.values())
        if undated:
            _log.warning("images do not say when they were created", repository=str(repository), tags=undated)
        return times

    def _tell_cost(self, repository: Repository, tags: int) -> None:
        tell = _log.warning if tags >= MANY else _log.info
        tell("creation times are asked for", repository=str(repository), tags=tags, requests=_cost(tags))
        self._asked += tags
        if self._asked >= self._next_told:
            if tags < self._asked:
                _log.warning(
                    "creation times are asked for in many repositories",
                    tags_so_far=self._asked,
                    requests=_cost(self._asked),
                )
            while self._asked >= self._next_told:
                self._next_told *= 10

    async def _work(self, repository: Repository, tags: Iterator[str], times: dict[str, float | None]) -> None:
        for tag in tags:
            root = await self._discovery.get_root(Reference(repository, tag, None))
            times[tag] = await self.of_image(repository, root)

    async def of_image(self, repository: Repository, manifest: Manifest, depth: int = 0) -> float | None:
        """When the image with this manifest was created; `depth` counts the indexes above it."""
        if manifest.digest in self._known:
            return self._known[manifest.digest]
        if manifest.kind is ManifestKind.SCHEMA1:
            found = created_of_schema1(manifest.raw)
        elif manifest.kind is ManifestKind.INDEX:
            child = _first_image(manifest)
            if child is None or depth >= MAX_DEPTH:
                found = None
            elif child.digest in self._known:
                found = self._known[child.digest]
            else:
                inner = await self._discovery.get_root(Reference(repository, None, child.digest))
                found = await self.of_image(repository, inner, depth + 1)
        else:
            config = await self._discovery.read_config(repository, manifest)
            found = None if config is None else created_of_config(config)
        if len(self._known) < MOST_KEPT:
            self._known[manifest.digest] = found
        return found


def _first_image(index: Manifest) -> Descriptor | None:
    """The first entry that is an image: the platform of an attestation is "unknown"."""
    images = (child for child in index.children if child.platform is None or child.platform.os != "unknown")
    return next(images, None)


def _cost(tags: int) -> str:
    """The number of requests in words: the manifest of each tag, and for each image that is not known yet its
    configuration, after the manifest of an image where the tag names an index.
    """
    return f"{tags:,} to {3 * tags:,}"
