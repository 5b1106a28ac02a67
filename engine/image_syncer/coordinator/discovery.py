"""Discovery: what is at the source, and what is already at the destination.

Images in another form: what cannot have it is refused, with what to do about that.

The manifests under one root at its source, read together, and no more of them than an image may have.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.config import MissingPlatform, RegistryBook, Settings
from image_syncer.coordinator.image_config import read_config
from image_syncer.coordinator.manifest_reads import ManifestReads
from image_syncer.errors import AuthenticationError, NotFoundError, Origin, ProtocolViolation, RefusedError, SyncError
from image_syncer.oci import (
    Digest,
    Manifest,
    ManifestFormat,
    ManifestKind,
    NotConvertible,
    Platform,
    PlatformFilter,
    Reference,
    Repository,
    is_index,
    platform_of_config,
    platform_of_schema1,
    select_platforms,
)
from image_syncer.planning import MAX_DEPTH, MAX_MANIFESTS, ImageTree
from image_syncer.planning.conversion import convert_tree
from image_syncer.registry import ManifestHead, Operation, build_head_manifest, content_digest, parse_manifest_head
from image_syncer.registry.capabilities import HEADS_MANIFESTS, RegistryCapabilities
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from image_syncer.coordinator.mirror_reads import MirrorReads
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor

__all__ = ["Discovery", "Selected", "SourceTree", "converted", "hostile"]


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


_KEEP = "Copy it as it is: --format keep."
_ATTESTATIONS = "If this is an attestation: docker buildx build --provenance=false --sbom=false makes none."


def converted(tree: ImageTree, wanted: ManifestFormat) -> ImageTree:
    """`tree` in the form that is wanted. Raises RefusedError where it would lose something by it."""
    try:
        return convert_tree(tree, wanted)
    except NotConvertible as error:
        raise RefusedError(
            f"it cannot be converted: {error}",
            origin=Origin.SOURCE,
            operation=Operation.GET_MANIFEST.value,
            hint=_KEEP if wanted is ManifestFormat.OCI else f"{_KEEP} {_ATTESTATIONS}",
        ) from None


_ABSENT = (404,)
_NOT_ALLOWED = 405
_NO_HEAD = (400, 401, 403, 405)
"""What some registries answer to a HEAD where a GET works."""
_HEAD_ANSWERS = (200, *_ABSENT, *_NO_HEAD)


class Selected(Value, frozen=True):
    """What of a source image is to be copied: `root` as planned (None: nothing fits, and `reason` says why).

    `source_digest` is that of the source's own root, which differs where a filter rewrote it, or it was converted.
    `tree` is what is under the root, where that had to be read to know it.
    """

    root: Manifest | None
    source_digest: Digest
    indexes: dict[Digest, Manifest]
    reason: str | None = None
    tree: ImageTree | None = None


class Discovery:
    """Asks registries through the client; every error says on which side and of which image.

    `capabilities` knows where a HEAD tells nothing, and learns it. What is asked for by its digest is asked first of
    the mirrors that are in `registries`.
    """

    def __init__(
        self,
        client: RegistryClient,
        endpoints: EndpointBook,
        capabilities: RegistryCapabilities | None = None,
        registries: RegistryBook | None = None,
        settings: Settings | None = None,
    ) -> None:
        settings = settings or Settings()
        self._missing_platform = settings.missing_platform
        self._format = settings.manifest_format
        self._client = client
        self._endpoints = endpoints
        self._capabilities = capabilities or RegistryCapabilities()
        self._reads = ManifestReads(client, endpoints, registries or RegistryBook())
        self._refused: set[Reference] = set()

    @property
    def mirrors(self) -> MirrorReads:
        """Where manifests of sources are asked for first."""
        return self._reads.mirrors

    async def head_source(self, reference: Reference) -> ManifestHead:
        """What HEAD says of a source manifest; all None where only a GET can tell. Raises NotFoundError and others.

        A digest that was asked for is the digest, whatever the registry says.
        """
        registry = reference.repository.registry
        endpoint = self._endpoints.known(registry) or await self._endpoints.resolve(registry, Origin.SOURCE)
        if self._capabilities.known(endpoint, HEADS_MANIFESTS) is False:
            return ManifestHead(None, None, None)
        request = build_head_manifest(endpoint, reference.repository, reference.target)
        try:
            response = await self._client.send(request, endpoint, origin=Origin.SOURCE, accept=_HEAD_ANSWERS)
        except AuthenticationError:
            return ManifestHead(None, None, None)  # the GET says it again, with a body that says why
        if response.status in _ABSENT or response.status in _NO_HEAD:
            if response.status in _NO_HEAD:
                self._refused.add(reference)
            return ManifestHead(None, None, None)
        head = parse_manifest_head(response)
        return head if reference.digest is None else replace(head, digest=reference.digest)

    async def head_destination(self, reference: Reference, *, surely: bool = False) -> Digest | None:
        """The digest of what is at the destination now; None where nothing is, or nobody tells.

        With `surely`, None means that nothing is there: where HEAD is not answered, GET has to be.
        """
        registry = reference.repository.registry
        endpoint = self._endpoints.known(registry) or await self._endpoints.resolve(registry, Origin.DESTINATION)
        heads = self._capabilities.known(endpoint, HEADS_MANIFESTS) is not False
        if heads:
            request = build_head_manifest(endpoint, reference.repository, reference.target)
            response = await self._client.send(request, endpoint, origin=Origin.DESTINATION, accept=_HEAD_ANSWERS)
            heads = response.status != _NOT_ALLOWED
            refused = response.status in _NO_HEAD
            if response.status in _ABSENT or (heads and refused and not surely):
                return None
            digest = None if refused else content_digest(response.headers)
            if digest is not None:
                return digest
        try:
            found = (await self._reads.get(reference.repository, reference.target, Origin.DESTINATION)).digest
        except NotFoundError:
            return None
        except ProtocolViolation:
            if surely:
                raise
            return None
        except AuthenticationError:
            if heads or surely:
                raise
            return None  # as where HEAD says so: whether it may be written is seen then
        if not heads:
            self._capabilities.note(registry, HEADS_MANIFESTS, value=False)
        return found

    async def get_destination(self, repository: Repository, digest: Digest) -> Manifest:
        """A manifest that the destination has."""
        return await self._reads.get(repository, str(digest), Origin.DESTINATION, digest)

    async def get_destination_tag(self, reference: Reference) -> Manifest:
        """What a destination has under a tag now. Raises NotFoundError and others."""
        return await self._reads.get(reference.repository, reference.target, Origin.DESTINATION)

    async def get_root(self, reference: Reference, head: ManifestHead) -> Manifest:
        """The source's manifest as it was when `head` was read: a tag that moves in between does not mix two images."""
        wanted = reference.digest or head.digest
        target = str(wanted) if wanted is not None else reference.target
        refused = reference in self._refused
        self._refused.discard(reference)
        root = await self._reads.get(reference.repository, target, Origin.SOURCE, wanted)
        if refused:
            self._capabilities.note(reference.repository.registry, HEADS_MANIFESTS, value=False)
        return root

    def rewrites(self, wanted: PlatformFilter, media_type: str | None) -> bool:
        """Whether a root of this type (None: of one that nobody told) may get another digest than it has."""
        if self._format is not ManifestFormat.KEEP:
            return True
        return not wanted.is_empty and (media_type is None or is_index(media_type))

    async def select(self, repository: Repository, root: Manifest, wanted: PlatformFilter) -> Selected:
        """What of `root` fits the filter, in the form that is wanted. An index is rewritten at most once for each;
        child indexes are read for the filter, and all that is under the root to convert it.

        Where nothing fits, it is nothing, or all, or a RefusedError; what cannot have that form is a RefusedError.
        """
        selected = await self._fitting(repository, root, wanted)
        if selected.root is None or self._format is ManifestFormat.KEEP:
            return selected
        tree = converted(await self.get_tree(repository, selected), self._format)
        return replace(selected, root=tree.manifest, tree=tree)

    async def _fitting(self, repository: Repository, root: Manifest, wanted: PlatformFilter) -> Selected:
        if wanted.is_empty:
            return Selected(root, root.digest, {})
        if root.kind is ManifestKind.INDEX:
            nested: dict[Digest, Manifest | None] = {}
            chosen = await self._select_index(repository, root, wanted, nested, depth=0)
            if chosen is None:
                return self._without(root, f"no platform in it fits {wanted}")
            indexes = {inner.digest: inner for inner in nested.values() if inner is not None}
            return Selected(chosen, root.digest, indexes)
        platform = await self._platform_of(repository, root)
        if platform is not None and not wanted.matches(platform):
            return self._without(root, f"its platform {platform} does not fit {wanted}")
        return Selected(root, root.digest, {})

    def _without(self, root: Manifest, reason: str) -> Selected:
        if self._missing_platform is MissingPlatform.COPY:
            return Selected(root, root.digest, {})
        if self._missing_platform is MissingPlatform.SKIP:
            return Selected(None, root.digest, {}, reason)
        raise RefusedError(
            reason,
            origin=Origin.SOURCE,
            operation=Operation.GET_MANIFEST.value,
            hint="Have the platform built, or let such images be skipped or copied whole: --missing-platform.",
        )

    async def get_tree(self, repository: Repository, selected: Selected) -> ImageTree:
        """All manifests under the selected root, children fetched together."""
        assert selected.root is not None
        if selected.tree is not None:
            return selected.tree
        return await SourceTree(self._reads, repository, selected.indexes).read(selected.root)

    async def _select_index(
        self,
        repository: Repository,
        index: Manifest,
        wanted: PlatformFilter,
        nested: dict[Digest, Manifest | None],
        depth: int,
    ) -> Manifest | None:
        """What is left of `index`; `nested` has what is left of the indexes below it, each of which is read once,
        however often and in however many ways it is named.
        """
        if depth > MAX_DEPTH:
            raise hostile(repository, index, f"indexes are nested more than {MAX_DEPTH} deep")
        for child in index.children:
            if is_index(child.media_type) and child.digest not in nested:
                if len(nested) >= MAX_MANIFESTS:
                    raise hostile(repository, index, f"more than {MAX_MANIFESTS} indexes are under it")
                nested[child.digest] = None
                inner = await self._reads.get_child(repository, child)
                nested[child.digest] = await self._select_index(repository, inner, wanted, nested, depth + 1)
        return select_platforms(index, wanted, nested)

    async def _platform_of(self, repository: Repository, manifest: Manifest) -> Platform | None:
        if manifest.kind is ManifestKind.SCHEMA1:
            return platform_of_schema1(manifest.raw)
        config = await read_config(self._client, self._endpoints, repository, manifest)
        return None if config is None else platform_of_config(config)
