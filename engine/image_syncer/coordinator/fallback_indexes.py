"""Fallback indexes: where a registry does not list referrers, the index that lists them under a tag is kept by those
who push (OCI distribution specification 1.1, section "Referrers Tag Schema").
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from image_syncer.errors import NotFoundError, Origin, ProtocolViolation, UnavailableError
from image_syncer.oci import OCI_INDEX, InvalidManifest, Reference, parse_manifest
from image_syncer.registry import Operation
from image_syncer.registry.referrers import (
    NO_REFERRERS_API,
    build_list_referrers,
    fallback_tag,
    merge_referrers,
    parse_referrers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.publisher import Publisher
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Manifest, Repository
    from image_syncer.registry.referrers import ReferrerEntry

__all__ = ["FallbackIndexes"]

MOST_WRITES = 20
"""Of one index, until ours are in it. Each loss takes another writer who was at it in the same moment."""
_LEAST_PAUSE_S = 0.02
_PAUSES = 2.0


class FallbackIndexes:
    """Sees to it that the referrers of a manifest are found at a destination.

    No registry exchanges an index only if it still is what was read. So after each write there is a pause, of up to
    twice the time from reading to writing, and a look: whoever wrote in between and had read before has taken
    our entries out with that, and they are put in again, beside those that are there now.
    """

    def __init__(
        self, client: RegistryClient, endpoints: EndpointBook, discovery: Discovery, publisher: Publisher
    ) -> None:
        self._client = client
        self._endpoints = endpoints
        self._discovery = discovery
        self._publisher = publisher
        self._locks: dict[Reference, tuple[asyncio.Lock, int]] = {}

    async def ensure(self, repository: Repository, subject: Digest, entries: Sequence[ReferrerEntry]) -> None:
        """Returns when `entries`, which are there, are in the list of referrers of `subject`, whoever keeps it. Raises
        what registries have against it.
        """
        if await self._is_listed(repository, subject):
            return
        tag = Reference(repository, fallback_tag(subject), None)
        lock, users = self._locks.get(tag, (asyncio.Lock(), 0))
        self._locks[tag] = lock, users + 1
        try:
            async with lock:
                await self._write(tag, entries)
        finally:
            lock, users = self._locks.pop(tag)
            if users > 1:
                self._locks[tag] = lock, users - 1

    async def _is_listed(self, repository: Repository, subject: Digest) -> bool:
        """Whether the registry lists referrers by itself: it says so when it takes one; else it is asked."""
        known = self._publisher.lists_referrers.get(repository)
        if known is None:
            endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
            request = build_list_referrers(endpoint, repository, subject)
            response = await self._client.send(
                request, endpoint, origin=Origin.DESTINATION, accept=(200, *NO_REFERRERS_API)
            )
            known = parse_referrers(response, request.url) is not None
            self._publisher.lists_referrers.setdefault(repository, known)
        return known

    async def _write(self, tag: Reference, entries: Sequence[ReferrerEntry]) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(MOST_WRITES):
            began_at = loop.time()
            raw = self._merge(tag, await self._read(tag), entries)
            if raw is None:
                return
            index = parse_manifest(raw, OCI_INDEX)
            await self._publisher.put(tag.repository, index, str(tag.tag))
            took_s = max(loop.time() - began_at, _LEAST_PAUSE_S)
            await asyncio.sleep(took_s * random.uniform(1.0, _PAUSES))  # noqa: S311 - no secret
        raise UnavailableError(
            f"others write the list of referrers {tag.tag} all the time: ours was lost {MOST_WRITES} times",
            origin=Origin.DESTINATION,
            operation=Operation.PUT_MANIFEST.value,
            repository=str(tag.repository),
            reference=tag.target,
            hint="Try again when no other run writes referrers of the same image.",
        )

    async def _read(self, tag: Reference) -> Manifest | None:
        try:
            return await self._discovery.get_destination_tag(tag)
        except NotFoundError:
            return None

    def _merge(self, tag: Reference, present: Manifest | None, entries: Sequence[ReferrerEntry]) -> bytes | None:
        try:
            return merge_referrers(present, entries)
        except InvalidManifest as error:
            raise ProtocolViolation(
                f"the tag {tag.tag} is taken, and not by a list of referrers: {error}",
                origin=Origin.DESTINATION,
                operation=Operation.PUT_MANIFEST.value,
                repository=str(tag.repository),
                reference=tag.target,
                hint="Remove the tag at the destination: it belongs to the referrers of the manifest with this digest.",
            ) from None
