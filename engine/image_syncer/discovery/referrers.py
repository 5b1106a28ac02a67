"""Referrers of an image at its source: by the referrers API or the fallback tag, and by the tags of cosign.

Found are the referrers of the image, of every manifest in it, and of the referrers themselves.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing
from typing import TYPE_CHECKING

from image_syncer.config import ReferrerSelection
from image_syncer.errors import NotFoundError, Origin, ProtocolViolation, RefusedError
from image_syncer.net import share, shared_result
from image_syncer.oci import InvalidManifest, ManifestKind, Reference, is_index
from image_syncer.registry import Operation
from image_syncer.registry.referrers import (
    ReferrerEntry,
    cosign_tags,
    describe_referrer,
    fallback_tag,
    is_attached_tag,
    read_referrers,
)
from image_syncer.scheduling import MAX_MANIFESTS
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from image_syncer.discovery.discovery import Discovery, Selected
    from image_syncer.discovery.listings import Listings
    from image_syncer.oci import Digest, Manifest, Repository


MAX_REFERRERS = 4096
"""Of one image; a bound against hostile registries."""
LISTINGS_KEPT = 16
"""Repositories whose tags are kept: as many as may be under way at once, and some more."""
_UNKNOWN = "unknown"


class Referrer(Value, frozen=True):
    """One manifest that belongs to `subject`: by its digest, or under a tag of cosign (`entry` is None then)."""

    reference: Reference
    subject: Digest
    artifact_type: str | None
    entry: ReferrerEntry | None


class FoundReferrers(Value, frozen=True):
    """What belongs to one image: `levels` has the referrers of its manifests, then the referrers of those, and so on.
    `root` is the entry of the image itself in the list of its `subject`, where it has one.
    """

    levels: tuple[tuple[Referrer, ...], ...] = ()
    subject: Digest | None = None
    root: ReferrerEntry | None = None

    def listed(self, arrived: set[Reference]) -> dict[Digest, list[ReferrerEntry]]:
        """The lists of referrers at a destination that has `arrived`, by subject."""
        lists: dict[Digest, list[ReferrerEntry]] = {}
        if self.subject is not None and self.root is not None:
            lists[self.subject] = [self.root]
        for each in (each for level in self.levels for each in level):
            if each.entry is not None and each.reference in arrived:
                lists.setdefault(each.subject, []).append(each.entry)
        return lists


class ReferrerSearch:
    """Asks source registries: once for each manifest, once more for its fallback tag where there is no API, and once
    for the tags of each repository.
    """

    def __init__(self, discovery: Discovery, listings: Listings) -> None:
        self._discovery = discovery
        self._listings = listings
        self._attached: OrderedDict[Repository, asyncio.Task[frozenset[str]]] = OrderedDict()

    async def find(self, repository: Repository, selected: Selected, wanted: ReferrerSelection) -> FoundReferrers:
        """All `wanted` referrers of an image. Raises RefusedError where a required one is missing, and the errors of
        requests.
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
                if each.reference not in seen
                and wanted.takes(each.artifact_type, each.entry.annotations if each.entry is not None else {})
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
        """What of `required` the image does not have. Raises the errors of requests."""
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
        return known.get(digest) or await self._discovery.get_root(Reference(repository, None, digest))

    async def _digest_of(self, referrer: Referrer) -> Digest:
        return referrer.reference.digest or (await self._discovery.get_root(referrer.reference)).digest

    async def _of(self, repository: Repository, subject: Digest, wanted: ReferrerSelection) -> list[Referrer]:
        """All referrers of one manifest, wanted or not."""
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
        entries: list[ReferrerEntry] | None = None
        pages = self._discovery.pages_of_referrers(repository, subject, Origin.SOURCE, artifact_type)
        async with aclosing(pages):
            async for page in pages:
                if page is None and entries is not None:
                    raise _violation("the list of referrers breaks off with a page for people", repository)
                if page is None:
                    return None
                filtered = artifact_type if page.filtered else None
                new = (replace(entry, artifact_type=entry.artifact_type or filtered) for entry in page.entries)
                entries = [*(entries or ()), *new]
                if len(entries) > MAX_REFERRERS:
                    raise _violation(f"more than {MAX_REFERRERS:,} manifests refer to {subject.short}", repository)
        return entries

    async def _by_tag(self, reference: Reference) -> tuple[ReferrerEntry, ...]:
        try:
            return read_referrers(await self._discovery.get_root(reference))
        except NotFoundError:
            return ()
        except InvalidManifest as error:
            raise _violation(f"the tag {reference.tag}: {error}", reference.repository) from None

    async def _describe(self, repository: Repository, entry: ReferrerEntry, wanted: ReferrerSelection) -> ReferrerEntry:
        """`entry` with what the list leaves out and the selection needs, read from the manifest."""
        if entry.artifact_type is not None and (entry.annotations or not wanted.annotations):
            return entry
        return describe_referrer(await self._discovery.get_root(Reference(repository, None, entry.digest)))

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
    """What is required, and is missing both at the image itself and at one of its platforms."""
    kinds: dict[Digest, list[str]] = {}
    for each in found:
        kinds.setdefault(each.subject, []).append(each.artifact_type or "")
    platforms = [child.digest for child in root.children if child.platform is None or child.platform.os != _UNKNOWN]
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


def _violation(what: str, repository: Repository) -> ProtocolViolation:
    return ProtocolViolation(
        what, origin=Origin.SOURCE, operation=Operation.LIST_REFERRERS.value, repository=str(repository)
    )
