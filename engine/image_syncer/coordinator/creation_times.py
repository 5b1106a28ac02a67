"""When the images of many tags were created: manifest and configuration of each, a few at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.coordinator.discovery import Discovery
from image_syncer.coordinator.image_config import read_config
from image_syncer.oci import Digest, ManifestKind, Reference
from image_syncer.oci.created import created_of_config, created_of_schema1
from image_syncer.planning import MAX_DEPTH
from image_syncer.registry import ManifestHead
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor, Manifest, Repository

__all__ = ["CreationTimes"]

AT_ONCE = 16
"""Tags that are asked about together; the registry's own bounds hold beside it."""
MOST_KEPT = 65_536
"""Images of which the time is kept, since many tags have the same one; some 150 bytes each."""
MANY = 100
"""From so many tags of one repository on, the cost is a warning. Of small ones it is one when they come to so many
together, and with every tenfold of that: a catalog of them would otherwise give many, or none.
"""

_UNTOLD = ManifestHead(None, None, None)
_log = get_logger(__name__)


class CreationTimes:
    """Asks source registries, and keeps for the run what was said of each image."""

    def __init__(self, client: RegistryClient, endpoints: EndpointBook) -> None:
        self._client = client
        self._endpoints = endpoints
        self._discovery = Discovery(client, endpoints)
        self._known: dict[Digest, float | None] = {}
        self._asked = 0
        self._next_told = MANY

    async def find(self, repository: Repository, tags: Sequence[str]) -> dict[str, float | None]:
        """When the image of each tag was created, in seconds since 1970; None where it does not say. Of an index, its
        first image counts. Raises the first `SyncError` that keeps a tag from being known. What it costs is told before
        the first request.
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

    async def of_image(self, repository: Repository, root: Manifest) -> float | None:
        """The same of one image, whose manifest is at hand."""
        return await self._of(repository, root, depth=0)

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
            root = await self._discovery.get_root(Reference(repository, tag, None), _UNTOLD)
            times[tag] = await self._of(repository, root, depth=0)

    async def _of(self, repository: Repository, manifest: Manifest, depth: int) -> float | None:
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
                inner = await self._discovery.get_root(Reference(repository, None, child.digest), _UNTOLD)
                found = await self._of(repository, inner, depth + 1)
        else:
            config = await read_config(self._client, self._endpoints, repository, manifest)
            found = None if config is None else created_of_config(config)
        if len(self._known) < MOST_KEPT:
            self._known[manifest.digest] = found
        return found


def _first_image(index: Manifest) -> Descriptor | None:
    """The first entry that is an image: attestations have a platform that is none."""
    known = [child for child in index.children if child.platform is None or child.platform.os != "unknown"]
    return next(iter(known), None)


def _cost(tags: int) -> str:
    """Requests: a manifest of each tag; of each image that is not known yet its configuration, and of an index before
    that the manifest of an image.
    """
    return f"{tags:,} to {3 * tags:,}"
