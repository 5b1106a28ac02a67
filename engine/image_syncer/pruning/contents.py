"""A look at a destination repository for a prune: its tags, their manifests, and what these name and refer to."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from image_syncer.errors import NotFoundError, Origin, RefusedError, SyncError
from image_syncer.oci import Reference
from image_syncer.registry import Operation
from image_syncer.scheduling.pruning import ManifestNode, RepositoryPrune, RepositoryView, named_subject, plan_prune

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import TypeVar

    from image_syncer.coordinator.context import RunContext
    from image_syncer.oci import Digest, Repository
    from image_syncer.scheduling.pruning import Keep

    _In = TypeVar("_In")
    _Out = TypeVar("_Out")


AT_ONCE = 64
"""Requests at once for one repository; fewer where the registry's settings say so."""


class PruneLook:
    """Looks at one repository, as often as needed. A manifest never changes, so each is read once."""

    def __init__(self, repository: Repository, context: RunContext) -> None:
        self.repository = repository
        self._discovery = context.discovery
        self._listings = context.listings
        self._read: dict[Digest, ManifestNode] = {}
        self._has_api: bool | None = None

    async def look(
        self, selected: frozenset[str], keep: Keep, untagged: frozenset[Digest] = frozenset()
    ) -> RepositoryPrune:
        """Return what is to be deleted of what is there now. Where all tags are `selected`, nothing else is asked.

        Raises the errors of registries, and RefusedError where what rules select cannot be told from the rest.
        """
        names = await self._list()
        if selected.issuperset(names) and not untagged:
            return RepositoryPrune(self.repository, len(names))
        await self._check_list(selected.difference(names))
        tags = await self._find(names, selected)
        nodes: dict[Digest, ManifestNode] = {}
        named = [subject for tag in tags if (subject := named_subject(tag)) is not None]
        await self._explore(nodes, [*tags.values(), *keep.digests, *named, *untagged])
        for digest in sorted(keep.digests - nodes.keys()):
            raise self._refused(f"a rule brings {digest}, which is not there under this digest")
        for tag, digest in tags.items():
            if digest not in nodes and keep.why(tag, digest) is not None:
                raise self._refused(f"the tag {tag}, which stays, points at {digest}, and that cannot be found")
        asked: set[Digest] = set()
        while True:
            plan = plan_prune(RepositoryView(self.repository, tags, nodes, untagged), keep)
            new = [digest for digest in plan.going_digests if digest not in asked]
            if not new or self._has_api is False:
                return plan
            asked.update(new)
            found = await self._each(self._referrers, new)
            await self._explore(nodes, [digest for digests in found for digest in digests])

    def blobs_of(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the blobs that a manifest names, if it was read."""
        node = self._read.get(digest)
        return node.blobs if node is not None else ()

    def clear(self) -> None:
        """Forget all manifests, to free memory."""
        self._read.clear()

    def forget(self, digest: Digest) -> None:
        """Forget a manifest that was deleted."""
        self._read.pop(digest, None)

    async def _list(self) -> list[str]:
        names: list[str] = []
        try:
            async with aclosing(self._listings.tags(self.repository)) as pages:
                async for page, _last in pages:
                    names += page
        except NotFoundError:
            return []  # nothing was ever pushed there
        except SyncError as error:
            raise error.changed(origin=Origin.DESTINATION) from error.__cause__
        return names

    async def _check_list(self, missing: frozenset[str]) -> None:
        """Raise RefusedError where a tag is there and not in the list: then a list does not tell a manifest's tags."""
        names = sorted(missing)
        for name, digest in zip(names, await self._each(self.head, names), strict=True):
            if digest is not None:
                raise self._refused(f"the registry's list of tags leaves out {name}, which is there")

    async def _find(self, names: Sequence[str], selected: frozenset[str]) -> dict[str, Digest]:
        tags: dict[str, Digest] = {}
        for name, digest in zip(names, await self._each(self.head, names), strict=True):
            if digest is not None:
                tags[name] = digest
            elif name in selected:
                raise self._refused(f"the tag {name}, which a rule selects, is listed and cannot be found")
        return tags

    async def head(self, tag: str) -> Digest | None:
        """Return the digest of a tag now; None where it is not there."""
        return await self._discovery.head_destination(Reference(self.repository, tag, None), surely=True)

    async def _explore(self, nodes: dict[Digest, ManifestNode], begin: Iterable[Digest]) -> None:
        """Read `begin`, and everything that these name or refer to. What is not there has no node."""
        seen: set[Digest] = set(nodes)
        waiting = [digest for digest in dict.fromkeys(begin) if digest not in seen]
        while waiting:
            seen.update(waiting)
            found = await self._each(self._node, waiting)
            waiting = []
            for node in found:
                if node is None:
                    continue
                nodes[node.digest] = node
                leads = (*node.children, *([node.subject] if node.subject is not None else []))
                waiting += [digest for digest in leads if digest not in seen]
            waiting = list(dict.fromkeys(waiting))

    async def _node(self, digest: Digest) -> ManifestNode | None:
        if digest in self._read:
            return self._read[digest]
        try:
            manifest = await self._discovery.get_destination(Reference(self.repository, None, digest))
        except NotFoundError:
            return None
        node = ManifestNode(
            digest,
            tuple(child.digest for child in manifest.children),
            manifest.subject.digest if manifest.subject is not None else None,
            tuple(blob.digest for blob in manifest.named_blobs),
        )
        self._read[digest] = node
        return node

    async def _referrers(self, subject: Digest) -> list[Digest]:
        """Return what the registry lists. One that does not has lists under tags, which are read as tags."""
        if self._has_api is False:
            return []
        found: list[Digest] = []
        async for page in self._discovery.pages_of_referrers(self.repository, subject, Origin.DESTINATION):
            self._has_api = page is not None
            if page is not None:
                found += [entry.digest for entry in page.entries]
        return found if self._has_api else []

    async def _each(self, ask: Callable[[_In], Awaitable[_Out]], items: Sequence[_In]) -> list[_Out]:
        done: list[_Out] = []
        for begin in range(0, len(items), AT_ONCE):
            done += await asyncio.gather(*(ask(item) for item in items[begin : begin + AT_ONCE]))
        return done

    def _refused(self, what: str) -> RefusedError:
        return RefusedError(
            what,
            origin=Origin.DESTINATION,
            operation=Operation.LIST_TAGS.value,
            repository=str(self.repository),
            hint="Run a sync of the same files first; nothing is pruned in this repository until then.",
        )
