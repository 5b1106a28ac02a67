"""Referrers on their way: each is an image of its own, brought after what it refers to, and found there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from image_syncer.coordinator.fallback_indexes import FallbackIndexes
from image_syncer.coordinator.parking import PlannedImage
from image_syncer.coordinator.referrers import ReferrerSearch
from image_syncer.errors import Origin, SyncError
from image_syncer.oci import PlatformFilter, Reference

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
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry import ReferrerEntry

__all__ = ["ReferrerCopies", "copies_of"]


class _Images(Protocol):
    """What brings images to their destinations."""

    def open(self, planned: PlannedImage, referrer_of: str | None = None, *, holds: bool = False) -> OpenImage: ...
    async def bring(self, image: OpenImage) -> None: ...


class _Carried(NamedTuple):
    found: Referrer
    image: OpenImage


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
        self.find = search.find
        self._fallback = fallback
        self._ledger = ledger
        self._dry_run = dry_run

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
        await asyncio.gather(*work)

    def _open(self, images: _Images, one: Referrer, repository: Repository, wanted: ReferrerSelection) -> _Carried:
        source = one.reference
        target = Reference(repository, source.tag, source.digest)
        self._ledger.plan(source, target)
        planned = PlannedImage(source, (target,), PlatformFilter(), wanted)
        return _Carried(one, images.open(planned, referrer_of=f"{source.repository}@{one.subject}", holds=True))

    async def _carry_to(
        self,
        images: _Images,
        image: OpenImage,
        destination: Reference,
        levels: list[list[_Carried]],
        found: FoundReferrers,
    ) -> None:
        for level in levels:
            await asyncio.gather(*(images.bring(each.image) for each in level))
        everything = [each for level in levels for each in level]
        errors: dict[Digest, SyncError] = {}
        if not self._dry_run:
            lists = found.listed({each.image.source for each in everything if each.image.arrived})
            ended = await asyncio.gather(*(self._list(destination, *item) for item in lists.items()))
            errors = {subject: error for subject, error in zip(lists, ended, strict=True) if error is not None}
        for each in everything:
            error = errors.get(each.found.subject) if each.found.entry is not None else None
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
