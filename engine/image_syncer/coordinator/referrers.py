"""What refers to an image at its source: found by the referrers API, else by the fallback tag, and by cosign's tags; of
the image, of every manifest in it, and of what was found itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from image_syncer.config import ReferrerSelection
from image_syncer.errors import NotFoundError, Origin, ProtocolViolation, RefusedError
from image_syncer.net import share, shared_result
from image_syncer.oci import InvalidManifest, ManifestKind, Reference, is_index
from image_syncer.planning import MAX_MANIFESTS
from image_syncer.registry import ManifestHead, Operation
from image_syncer.registry.referrers import (
    NO_REFERRERS_API,
    ReferrerEntry,
    build_list_referrers,
    cosign_tags,
    describe_referrer,
    fallback_tag,
    is_attached_tag,
    parse_referrers,
    read_referrers,
)
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from image_syncer.coordinator.discovery import Discovery, Selected
    from image_syncer.coordinator.listings import Listings
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor, Digest, Manifest, Repository

__all__ = ["FoundReferrers", "Referrer", "ReferrerSearch"]

MAX_REFERRERS = 4096
"""Of one image; a bound against hostile registries."""
MAX_PAGES = 1000
LISTINGS_KEPT = 16
"""Repositories whose tags are remembered: as many as may be under way at once, and some more."""
_UNKNOWN = "unknown"


class Referrer(Value, frozen=True):
    """One manifest that belongs to `subject`: by its digest, or under a tag of cosign's (`entry` is None then)."""

    reference: Reference
    subject: Digest
    artifact_type: str | None
    entry: ReferrerEntry | None


class FoundReferrers(Value, frozen=True):
    """What belongs to one image: `levels` has what refers to its manifests, then what refers to those, and so on.
    `root` is what a list of referrers says of the image, where it has a `subject` itself.
    """

    levels: tuple[tuple[Referrer, ...], ...] = ()
    subject: Digest | None = None
    root: ReferrerEntry | None = None

    def listed(self, arrived: set[Reference]) -> dict[Digest, list[ReferrerEntry]]:
        """By subject, what its list of referrers has to have at a destination where `arrived` are."""
        lists: dict[Digest, list[ReferrerEntry]] = {}
        if self.subject is not None and self.root is not None:
            lists[self.subject] = [self.root]
        for each in (each for level in self.levels for each in level):
            if each.entry is not None and each.reference in arrived:
                lists.setdefault(each.subject, []).append(each.entry)
        return lists


class ReferrerSearch:
    """Asks source registries: once for each manifest, once more for its fallback tag where there is no API, and once in
    a run for the tags of each repository.
    """

    def __init__(
        self, client: RegistryClient, endpoints: EndpointBook, discovery: Discovery, listings: Listings
    ) -> None:
        self._client = client
        self._endpoints = endpoints
        self._discovery = discovery
        self._listings = listings
        self._attached: OrderedDict[Repository, asyncio.Task[frozenset[str]]] = OrderedDict()

    async def find(self, repository: Repository, selected: Selected, wanted: ReferrerSelection) -> FoundReferrers:
        """All that belongs to an image and is `wanted`. Raises RefusedError where something required is missing, and
        what registries have against it.
        """
        assert selected.root is not None
        root = selected.root
        is_rewritten = root.digest != selected.source_digest  # nothing can refer to it yet
        below = await self._below(repository, root, selected.indexes)
        subjects = list(dict.fromkeys([*([] if is_rewritten else [root.digest]), *below]))
        levels: list[tuple[Referrer, ...]] = []
        seen: set[Reference] = set()
        for depth in range(1, wanted.depth + 1):
            lists = await asyncio.gather(*(self._of(repository, each, wanted) for each in subjects))
            every = [each for found in lists for each in found]
            if depth == 1:
                _check_required(root, every, wanted)
            level = tuple(
                each
                for each in {each.reference: each for each in every}.values()
                if each.reference not in seen and _is_wanted(each, wanted)
            )
            seen.update(each.reference for each in level)
            if len(seen) > MAX_REFERRERS:
                raise _violation(f"more than {MAX_REFERRERS:,} manifests refer to the image", repository)
            if not level:
                break
            levels.append(level)
            if depth < wanted.depth:
                subjects = list(await asyncio.gather(*(self._digest_of(each) for each in level)))
        if is_rewritten or root.subject is None:
            return FoundReferrers(tuple(levels))
        return FoundReferrers(tuple(levels), root.subject.digest, describe_referrer(root))

    async def find_lacking(self, repository: Repository, selected: Selected, required: tuple[str, ...]) -> list[str]:
        """What of `required` the image does not have. Raises what registries have against being asked."""
        assert selected.root is not None
        root, wanted = selected.root, ReferrerSelection(depth=1, require=required)
        below = await self._below(repository, root, selected.indexes)
        subjects = dict.fromkeys([*([root.digest] if root.digest == selected.source_digest else []), *below])
        lists = await asyncio.gather(*(self._of(repository, each, wanted) for each in subjects))
        return _lacking(root, [each for found in lists for each in found], wanted)

    async def _below(self, repository: Repository, root: Manifest, known: dict[Digest, Manifest]) -> list[Digest]:
        """The digest of every manifest under `root`; only indexes are read for it."""
        found: dict[Digest, None] = {}
        indexes = [root] if root.kind is ManifestKind.INDEX else []
        while indexes:
            children = {child.digest: child for index in indexes for child in index.children}
            new = [child for child in children.values() if child.digest not in found]
            found.update(dict.fromkeys(child.digest for child in new))
            if len(found) > MAX_MANIFESTS:
                raise _violation(f"more than {MAX_MANIFESTS:,} manifests are under the index", repository)
            nested = [child.digest for child in new if is_index(child.media_type)]
            indexes = list(await asyncio.gather(*(self._index(repository, digest, known) for digest in nested)))
        return list(found)

    async def _index(self, repository: Repository, digest: Digest, known: dict[Digest, Manifest]) -> Manifest:
        return known.get(digest) or await self._get(Reference(repository, None, digest))

    async def _get(self, reference: Reference) -> Manifest:
        return await self._discovery.get_root(reference, ManifestHead(None, None, None))

    async def _digest_of(self, referrer: Referrer) -> Digest:
        return referrer.reference.digest or (await self._get(referrer.reference)).digest

    async def _of(self, repository: Repository, subject: Digest, wanted: ReferrerSelection) -> list[Referrer]:
        """What refers to one manifest, wanted or not."""
        entries = await self._by_api(repository, subject, wanted.only_type)
        tag = fallback_tag(subject)
        attached = await self._attached_tags(repository) if wanted.cosign else None
        if tag in attached if attached is not None else entries is None:
            entries = [*(entries or ()), *await self._by_tag(Reference(repository, tag, None))]
        distinct = {entry.digest: entry for entry in entries or ()}
        described = await asyncio.gather(*(self._describe(repository, entry, wanted) for entry in distinct.values()))
        return [
            *(
                Referrer(Reference(repository, None, each.digest), subject, each.artifact_type, each)
                for each in described
            ),
            *(
                Referrer(Reference(repository, tag, None), subject, artifact_type, None)
                for tag, artifact_type in cosign_tags(subject).items()
                if tag in (attached or ())
            ),
        ]

    async def _by_api(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> list[ReferrerEntry] | None:
        """None where the registry has no such API."""
        endpoint = await self._endpoints.resolve(repository.registry, Origin.SOURCE)
        entries: list[ReferrerEntry] = []
        next_url: str | None = None
        for number in range(MAX_PAGES):
            request = build_list_referrers(
                endpoint, repository, subject, artifact_type=artifact_type, next_url=next_url
            )
            accept = (200, *NO_REFERRERS_API) if number == 0 else (200,)
            response = await self._client.send(request, endpoint, origin=Origin.SOURCE, accept=accept)
            page = parse_referrers(response, request.url)
            if page is None and number == 0:
                return None
            if page is None:
                raise _violation("the list of referrers breaks off with a page for people", repository)
            filtered = artifact_type if page.filtered else None
            entries += (replace(entry, artifact_type=entry.artifact_type or filtered) for entry in page.entries)
            if len(entries) > MAX_REFERRERS:
                raise _violation(f"more than {MAX_REFERRERS:,} manifests refer to {subject.short}", repository)
            next_url = page.next_url
            if next_url is None:
                return entries
        raise _violation(f"the list of referrers has more than {MAX_PAGES:,} pages", repository)

    async def _by_tag(self, reference: Reference) -> tuple[ReferrerEntry, ...]:
        try:
            return read_referrers(await self._get(reference))
        except NotFoundError:
            return ()
        except InvalidManifest as error:
            raise _violation(f"the tag {reference.tag}: {error}", reference.repository) from None

    async def _describe(self, repository: Repository, entry: ReferrerEntry, wanted: ReferrerSelection) -> ReferrerEntry:
        """What a list leaves out, and the choice goes by, is read from the manifest."""
        if entry.artifact_type is not None and (entry.annotations or not wanted.annotations):
            return entry
        return describe_referrer(await self._get(Reference(repository, None, entry.digest)))

    async def _attached_tags(self, repository: Repository) -> frozenset[str]:
        task = self._attached.get(repository)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._attached[repository] = share(self._list_attached(repository))
        self._attached.move_to_end(repository)
        if len(self._attached) > LISTINGS_KEPT:
            self._attached.popitem(last=False)
        return await shared_result(task)

    async def _list_attached(self, repository: Repository) -> frozenset[str]:
        try:
            return frozenset(
                [tag async for tags, _ in self._listings.tags(repository) for tag in tags if is_attached_tag(tag)]
            )
        except NotFoundError:  # of a repository that has digests only
            return frozenset()


def _lacking(root: Manifest, found: list[Referrer], wanted: ReferrerSelection) -> list[str]:
    """What is required, and neither the image itself has nor each of the platforms in it."""
    kinds: dict[Digest, list[str]] = {}
    for each in found:
        kinds.setdefault(each.subject, []).append(each.artifact_type or "")
    platforms = [child.digest for child in root.children if _is_platform(child)]
    return [
        name
        for name in wanted.missing(kinds.get(root.digest, ()))
        if not platforms or any(name in wanted.missing(kinds.get(digest, ())) for digest in platforms)
    ]


def _check_required(root: Manifest, found: list[Referrer], wanted: ReferrerSelection) -> None:
    for name in _lacking(root, found, wanted)[:1]:
        raise RefusedError(
            f"the image has no {name}, which is required",
            origin=Origin.SOURCE,
            operation=Operation.LIST_REFERRERS.value,
            reference=str(root.digest),
            hint="Have it made, or leave it out of what --referrers, or `referrers` of the rule, requires.",
        )


def _is_wanted(referrer: Referrer, wanted: ReferrerSelection) -> bool:
    annotations = referrer.entry.annotations if referrer.entry is not None else {}
    return wanted.takes(referrer.artifact_type, annotations)


def _is_platform(child: Descriptor) -> bool:
    return child.platform is None or child.platform.os != _UNKNOWN


def _violation(what: str, repository: Repository) -> ProtocolViolation:
    return ProtocolViolation(
        what, origin=Origin.SOURCE, operation=Operation.LIST_REFERRERS.value, repository=str(repository)
    )
