"""Referrers on their way: each is an image of its own, brought after what it refers to, and found there.

Fallback indexes: where a registry does not list referrers, the index that lists them under a tag is kept by those
who push (OCI distribution specification 1.1, section "Referrers Tag Schema").
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple, Protocol

from image_syncer.coordinator.parking import PlannedImage
from image_syncer.coordinator.referrers import ReferrerSearch
from image_syncer.errors import NotFoundError, Origin, ProtocolViolation, SyncError, UnavailableError
from image_syncer.oci import OCI_INDEX, InvalidManifest, PlatformFilter, Reference, parse_manifest
from image_syncer.registry import Operation
from image_syncer.registry.referrers import (
    NO_REFERRERS_API,
    build_list_referrers,
    fallback_tag,
    is_attached_tag,
    merge_referrers,
    parse_referrers,
)
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config import ReferrerSelection
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.listings import Listings
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.coordinator.publisher import Publisher
    from image_syncer.coordinator.referrers import FoundReferrers, Referrer
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Manifest, Repository
    from image_syncer.registry.referrers import ReferrerEntry

__all__ = ["FallbackIndexes", "ReferrerCopies", "copies_of"]


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


class _Images(Protocol):
    """What brings images to their destinations."""

    def open(self, planned: PlannedImage, referrer_of: str | None = None, *, holds: bool = False) -> OpenImage: ...
    async def bring(self, image: OpenImage) -> None: ...


class _Carried(NamedTuple):
    """`image` brings what was found, or another image of the run does; True or False: whether that has arrived."""

    found: Referrer
    key: int
    image: OpenImage | bool
    is_own: bool

    @property
    def has_arrived(self) -> bool:
        return self.image if isinstance(self.image, bool) else bool(self.image.arrived)


class ReferrerCopies:
    """What `search` finds is carried along, and listed in `fallback` where nobody else lists it."""

    def __init__(
        self,
        search: ReferrerSearch,
        fallback: FallbackIndexes,
        ledger: Ledger,
        *,
        dry_run: bool,
    ) -> None:
        self.search = search
        self.find = search.find
        self._fallback = fallback
        self._ledger = ledger
        self._dry_run = dry_run
        self._claims: dict[int, OpenImage | bool] = {}
        """By the hash of its names, who brings what, or whether it has arrived."""

    def claim(self, image: OpenImage) -> None:
        """A rule means `image` itself: where it belongs to another one too, it is not brought a second time."""
        if image.source.digest is None and not is_attached_tag(image.source.tag or ""):
            return
        for destination in image.open:
            self._claims[hash((image.source, destination))] = image

    async def carry(self, images: _Images, image: OpenImage, found: FoundReferrers, wanted: ReferrerSelection) -> None:
        """Bring what was found to every destination where `image` is as wanted. Every one of it is owed an outcome from
        the first step on; what goes wrong with it is entered, and not raised. What would not be found there has failed.
        """
        # Alone, one of them is not asked whether it has what its image was asked for.
        alone = replace(wanted, require=())
        work = []
        for destination in image.arrived:
            levels = [
                [self._open(images, one, destination.repository, alone) for one in level] for level in found.levels
            ]
            work.append(self._carry_to(images, image, destination, levels, found))
        if found.subject is None:
            image.release_all()  # it is there, and nothing has to list it
        await asyncio.gather(*work)

    def _open(self, images: _Images, one: Referrer, repository: Repository, wanted: ReferrerSelection) -> _Carried:
        source = one.reference
        target = Reference(repository, source.tag, source.digest)
        key = hash((source, target))
        if (claimed := self._claims.get(key)) is not None:
            return _Carried(one, key, claimed, is_own=False)
        self._ledger.plan(source, target)
        planned = PlannedImage(source, (target,), PlatformFilter(), wanted)
        image = images.open(planned, referrer_of=f"{source.repository}@{one.subject}", holds=True)
        self._claims[key] = image
        return _Carried(one, key, image, is_own=True)

    async def _carry_to(
        self,
        images: _Images,
        image: OpenImage,
        destination: Reference,
        levels: list[list[_Carried]],
        found: FoundReferrers,
    ) -> None:
        for level in levels:
            await asyncio.gather(*(_bring(images, each) for each in level))
        everything = [each for level in levels for each in level]
        errors: dict[Digest, SyncError] = {}
        if not self._dry_run:
            lists = found.listed({each.found.reference for each in everything if each.has_arrived})
            ended = await asyncio.gather(*(self._list(destination, *item) for item in lists.items()))
            errors = {subject: error for subject, error in zip(lists, ended, strict=True) if error is not None}
        for each in everything:
            error = errors.get(each.found.subject) if each.found.entry is not None else None
            if not isinstance(each.image, bool) and each.is_own:
                self._claims[each.key] = each.has_arrived
                for target in each.image.held:
                    each.image.release(target, error)
        if destination in image.held:
            image.release(destination, None if found.subject is None else errors.get(found.subject))

    async def _list(
        self, destination: Reference, subject: Digest, entries: Sequence[ReferrerEntry]
    ) -> SyncError | None:
        """Why what is there is not found there, if so."""
        try:
            await self._fallback.ensure(destination.repository, subject, entries)
        except SyncError as error:
            error.origin = Origin.DESTINATION
            return error.located(repository=str(destination.repository), reference=str(subject))
        return None


async def _bring(images: _Images, one: _Carried) -> None:
    if isinstance(one.image, bool):
        return
    if one.is_own:
        await images.bring(one.image)
    else:
        await one.image.settled.wait()


def copies_of(
    parts: tuple[RegistryClient, EndpointBook, Discovery, Publisher],
    listings: Listings,
    ledger: Ledger,
    *,
    dry_run: bool,
) -> ReferrerCopies:
    """Those of one run, made of the `parts` that it asks and writes with."""
    client, endpoints, discovery, publisher = parts
    search = ReferrerSearch(client, endpoints, discovery, listings)
    fallback = FallbackIndexes(client, endpoints, discovery, publisher)
    return ReferrerCopies(search, fallback, ledger, dry_run=dry_run)
