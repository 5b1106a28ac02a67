"""Discovery of images: what the source has, what of it is to be copied, and what the destination has already."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.config import MissingPlatform, RegistryBook, Settings
from image_syncer.discovery.manifest_reads import ManifestReads
from image_syncer.errors import (
    AuthenticationError,
    IntegrityError,
    NotFoundError,
    Origin,
    ProtocolViolation,
    RefusedError,
    SyncError,
)
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
from image_syncer.registry import (
    ManifestHead,
    Operation,
    build_get_blob,
    build_head_blob,
    build_head_manifest,
    content_digest,
    content_length,
    parse_manifest_head,
)
from image_syncer.registry.capabilities import HEADS_MANIFESTS, RegistryCapabilities
from image_syncer.registry.referrers import NO_REFERRERS_API, build_list_referrers, parse_referrers
from image_syncer.scheduling import MAX_DEPTH, MAX_MANIFESTS, ImageTree
from image_syncer.scheduling.conversion import convert_tree
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor
    from image_syncer.registry.referrers import ReferrerPage


MAX_TREE_BYTES = 64 * 2**20
"""Of all manifests under one tag, which are in memory together; the largest official images have some 100 KiB."""
MAX_CONFIG_BYTES = 4 * 2**20
MAX_REFERRER_PAGES = 1000
_KEEP = "Copy it as it is: --format keep."
_ATTESTATIONS = "If this is an attestation: docker buildx build --provenance=false --sbom=false makes none."
_ABSENT = (404,)
_NOT_ALLOWED = 405
_NO_HEAD = (400, 401, 403, 405)
"""What some registries answer to a HEAD where a GET works."""
_HEAD_ANSWERS = (200, *_ABSENT, *_NO_HEAD)
_UNTOLD = ManifestHead(None, None, None)
"""Only a GET can tell."""


class SourceTree:
    """Reads the manifests under one root, each once; `indexes` are those that were read already, by digest."""

    def __init__(self, reads: ManifestReads, repository: Repository, indexes: dict[Digest, Manifest]) -> None:
        self._reads = reads
        self._repository = repository
        self._indexes = indexes
        self._trees: dict[Digest, asyncio.Task[ImageTree]] = {}
        self._bytes = 0

    async def read(self, root: Manifest) -> ImageTree:
        """The whole tree. Raises ProtocolViolation where it is larger than that of any image."""
        try:
            return await self._tree(root, depth=0)
        finally:
            for task in self._trees.values():
                task.cancel()
            await asyncio.gather(*self._trees.values(), return_exceptions=True)

    async def _tree(self, manifest: Manifest, depth: int) -> ImageTree:
        if depth > MAX_DEPTH:
            raise hostile(self._repository, manifest.digest, f"indexes are nested more than {MAX_DEPTH} deep")
        children = []
        for child in manifest.children:
            if child.digest not in self._trees:
                if len(self._trees) >= MAX_MANIFESTS:
                    what = f"more than {MAX_MANIFESTS} manifests are under it"
                    raise hostile(self._repository, manifest.digest, what)
                self._trees[child.digest] = asyncio.ensure_future(self._child(child, depth + 1))
            children.append(self._trees[child.digest])
        return ImageTree(manifest, tuple(await asyncio.gather(*children)))

    async def _child(self, child: Descriptor, depth: int) -> ImageTree:
        manifest = self._indexes.get(child.digest) or await self._reads.get_child(self._repository, child)
        self._bytes += len(manifest.raw)
        if self._bytes > MAX_TREE_BYTES:
            what = f"the manifests beside it have more than {MAX_TREE_BYTES} bytes"
            raise hostile(self._repository, manifest.digest, what)
        return await self._tree(manifest, depth)


def hostile(repository: Repository, digest: Digest, what: str, origin: Origin = Origin.SOURCE) -> SyncError:
    """Return the error of an index that no builder makes."""
    return ProtocolViolation(
        f"the index cannot be used: {what}",
        origin=origin,
        operation="get manifest",
        repository=str(repository),
        reference=str(digest),
    )


def converted(tree: ImageTree, wanted: ManifestFormat) -> ImageTree:
    """`tree` in the wanted format. Raises RefusedError where it would lose something by it."""
    try:
        return convert_tree(tree, wanted)
    except NotConvertible as error:
        raise RefusedError(
            f"it cannot be converted: {error}",
            origin=Origin.SOURCE,
            operation=Operation.GET_MANIFEST.value,
            hint=_KEEP if wanted is ManifestFormat.OCI else f"{_KEEP} {_ATTESTATIONS}",
        ) from None


class Selected(Value, frozen=True):
    """What of a source image is to be copied: `root` as planned (None: nothing matches, and `reason` says why).

    `source_digest` is the digest of the source's own root, which differs where the root was filtered or converted.
    `tree` has the manifests under the root, where they had to be read for that.
    """

    root: Manifest | None
    source_digest: Digest
    indexes: dict[Digest, Manifest]
    reason: str | None = None
    tree: ImageTree | None = None


class Discovery:
    """Asks registries through the client; every error names side and image.

    `capabilities` learns which registries do not answer HEAD. What is asked for by its digest is asked of the mirrors
    in `registries` first.
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
        self.mirrors = self._reads.mirrors
        self._refused: set[Reference] = set()
        """References whose HEAD was refused."""

    async def head_source(self, reference: Reference) -> ManifestHead:
        """What HEAD says of a source manifest; all None where only a GET can tell. Raises NotFoundError and others.

        A reference with a digest keeps that digest, whatever the registry says.
        """
        registry = reference.repository.registry
        endpoint = self._endpoints.known(registry) or await self._endpoints.resolve(registry, Origin.SOURCE)
        if self._capabilities.known(endpoint, HEADS_MANIFESTS) is False:
            return _UNTOLD
        request = build_head_manifest(endpoint, reference.repository, reference.target)
        try:
            response = await self._client.send(request, endpoint, origin=Origin.SOURCE, accept=_HEAD_ANSWERS)
        except AuthenticationError:
            return _UNTOLD  # the GET is refused too, with a body that says why
        if response.status in _ABSENT or response.status in _NO_HEAD:
            if response.status in _NO_HEAD:
                self._refused.add(reference)
            return _UNTOLD
        head = parse_manifest_head(response)
        return head if reference.digest is None else replace(head, digest=reference.digest)

    async def head_destination(self, reference: Reference, *, surely: bool = False) -> Digest | None:
        """The digest of the destination's manifest now; None where there is none, or the registry does not say.

        With `surely`, None means that there is none: where HEAD is not answered, GET has to be.
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
            return None  # as after a refused HEAD: the push shows whether writing is allowed
        if not heads:
            self._capabilities.note(registry, HEADS_MANIFESTS, value=False)
        return found

    async def get_destination(self, reference: Reference) -> Manifest:
        """The destination's manifest under a tag or digest. Raises NotFoundError and others."""
        return await self._reads.get(reference.repository, reference.target, Origin.DESTINATION, reference.digest)

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        """The size of a blob at a destination, by a HEAD; 0 where the registry does not say, None without the blob."""
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        request = build_head_blob(endpoint, repository, digest)
        response = await self._client.send(request, endpoint, origin=Origin.DESTINATION, accept=(200, *_ABSENT))
        return None if response.status in _ABSENT else content_length(response.headers) or 0

    async def read_config(self, repository: Repository, manifest: Manifest) -> bytes | None:
        """The configuration of a source's `manifest`; None where it has none, or one that is too large. Raises
        IntegrityError where the bytes do not have its digest, and other `SyncError`s.
        """
        config = manifest.config
        if config is None or config.size > MAX_CONFIG_BYTES:
            return None
        endpoint = await self._endpoints.resolve(repository.registry, Origin.SOURCE)
        request = build_get_blob(endpoint, repository, config.digest)
        body = (await self._client.send(request, endpoint, origin=Origin.SOURCE)).body
        hasher = config.digest.new_hash()
        hasher.update(body)
        if hasher.hexdigest() != config.digest.hex:
            raise IntegrityError(
                "the bytes of the image's configuration do not have its digest",
                origin=Origin.SOURCE,
                operation="get blob",
                repository=str(repository),
                digest=str(config.digest),
                retryable=True,
            )
        return body

    async def pages_of_referrers(
        self, repository: Repository, subject: Digest, origin: Origin, artifact_type: str | None = None
    ) -> AsyncGenerator[ReferrerPage | None, None]:
        """The pages of the list of referrers of `subject`. None is the last one: instead of the first page where the
        registry has no such list, later where it answers with a web page.
        """
        endpoint = await self._endpoints.resolve(repository.registry, origin)
        accept: tuple[int, ...] = (200, *NO_REFERRERS_API)
        next_url: str | None = None
        for _ in range(MAX_REFERRER_PAGES):
            request = build_list_referrers(
                endpoint, repository, subject, artifact_type=artifact_type, next_url=next_url
            )
            response = await self._client.send(request, endpoint, origin=origin, accept=accept)
            page = parse_referrers(response, request.url)
            yield page
            if page is None or page.next_url is None:
                return
            accept, next_url = (200,), page.next_url
        raise ProtocolViolation(
            f"the list of referrers has more than {MAX_REFERRER_PAGES:,} pages",
            origin=origin,
            operation=Operation.LIST_REFERRERS.value,
            repository=str(repository),
        )

    async def get_root(self, reference: Reference, head: ManifestHead = _UNTOLD) -> Manifest:
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
        """Whether a root of this media type (None: not known) may get another digest by filter or conversion."""
        if self._format is not ManifestFormat.KEEP:
            return True
        return not wanted.is_empty and (media_type is None or is_index(media_type))

    async def select(self, repository: Repository, root: Manifest, wanted: PlatformFilter) -> Selected:
        """What of `root` matches the filter, in the wanted format. Child indexes are read for the filter, and all
        manifests under the root for a conversion.

        Where no platform matches, the settings decide between nothing, all, and RefusedError; raises RefusedError for
        what cannot be converted.
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
        """All manifests under the selected root; children are read at the same time."""
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
        """What the filter leaves of `index`; `nested` has what it leaves of the indexes below, each of which is read
        once.
        """
        if depth > MAX_DEPTH:
            raise hostile(repository, index.digest, f"indexes are nested more than {MAX_DEPTH} deep")
        for child in index.children:
            if is_index(child.media_type) and child.digest not in nested:
                if len(nested) >= MAX_MANIFESTS:
                    raise hostile(repository, index.digest, f"more than {MAX_MANIFESTS} indexes are under it")
                nested[child.digest] = None
                inner = await self._reads.get_child(repository, child)
                nested[child.digest] = await self._select_index(repository, inner, wanted, nested, depth + 1)
        return select_platforms(index, wanted, nested)

    async def _platform_of(self, repository: Repository, manifest: Manifest) -> Platform | None:
        if manifest.kind is ManifestKind.SCHEMA1:
            return platform_of_schema1(manifest.raw)
        config = await self.read_config(repository, manifest)
        return None if config is None else platform_of_config(config)
