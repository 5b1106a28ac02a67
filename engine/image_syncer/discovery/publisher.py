"""The publisher: pushes manifests whose blobs are there; children first, then the index, then the tag."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from image_syncer.errors import NotFoundError, Origin, ProtocolViolation, UnavailableError
from image_syncer.net import share, shared_result
from image_syncer.oci import OCI_INDEX, InvalidManifest, Reference, parse_manifest
from image_syncer.registry import Operation, build_put_manifest, parse_put_manifest
from image_syncer.registry.referrers import fallback_tag, merge_referrers, takes_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.discovery.discovery import Discovery
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Manifest, Repository
    from image_syncer.registry.referrers import ReferrerEntry
    from image_syncer.scheduling import ImageTree, KnownBlobs


_ACCEPTED = (200, 201, 202, 204)


class Publisher:
    """PUTs manifests. A child that several images of one repository share is put once in a run.

    `children` are the manifests that were put. They are kept apart from the blobs: a repository with a manifest need
    not have a blob of the same bytes.
    """

    def __init__(self, client: RegistryClient, endpoints: EndpointBook, children: KnownBlobs) -> None:
        self._client = client
        self._endpoints = endpoints
        self._children = children
        self.lists_referrers: dict[Repository, bool] = {}
        """Whether a repository lists referrers, by the answer to the last manifest with a subject."""
        self._running: dict[tuple[Repository, Digest], asyncio.Future[None]] = {}

    async def publish(self, tree: ImageTree, destination: Reference) -> None:
        """Put every manifest of `tree`, the root last under its tag, or without a tag under its digest. Its blobs must
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
        """Put one manifest under `target`, a tag or its digest. What it names must be there."""
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


MOST_WRITES = 20
"""Writes of one index until it has our entries; each that is lost takes another writer in the same moment."""


_LEAST_PAUSE_S = 0.02


_PAUSES = 2.0


class FallbackIndexes:
    """Lists the referrers of manifests at destinations whose registry does not: clients keep an index of them under a
    tag (OCI distribution specification 1.1, section "Referrers Tag Schema").

    No registry replaces an index only if it is still what was read. So after each write there is a pause, of up to
    twice the time from reading to writing, and a check: a concurrent writer may have removed our entries, and then they
    are added again.
    """

    def __init__(self, discovery: Discovery, publisher: Publisher) -> None:
        self._discovery = discovery
        self._publisher = publisher
        self._locks: WeakValueDictionary[Reference, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, repository: Repository, subject: Digest, entries: Sequence[ReferrerEntry]) -> None:
        """Return once `entries` are in the list of referrers of `subject`. Raises the errors of registries."""
        if await self._is_listed(repository, subject):
            return
        tag = Reference(repository, fallback_tag(subject), None)
        lock = self._locks.setdefault(tag, asyncio.Lock())  # kept while a task holds it or waits for it
        async with lock:
            await self._write(tag, entries)

    async def _is_listed(self, repository: Repository, subject: Digest) -> bool:
        """Return whether the registry lists referrers: it says so when it takes one; else it is asked."""
        known = self._publisher.lists_referrers.get(repository)
        if known is None:
            async with aclosing(self._discovery.pages_of_referrers(repository, subject, Origin.DESTINATION)) as pages:
                known = await anext(pages) is not None
            self._publisher.lists_referrers.setdefault(repository, known)
        return known

    async def _write(self, tag: Reference, entries: Sequence[ReferrerEntry]) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(MOST_WRITES):
            began_at = loop.time()
            raw = await self._merge(tag, entries)
            if raw is None:
                return
            await self._publisher.put(tag.repository, parse_manifest(raw, OCI_INDEX), str(tag.tag))
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

    async def _merge(self, tag: Reference, entries: Sequence[ReferrerEntry]) -> bytes | None:
        """Return the index with `entries`; None where it has them."""
        present = None
        with suppress(NotFoundError):
            present = await self._discovery.get_destination(tag)
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
