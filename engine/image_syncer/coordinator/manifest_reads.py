"""Manifests as registries give them: asked for, checked against digest and size, and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.mirror_reads import MirrorReads
from image_syncer.errors import IntegrityError, Origin, ProtocolViolation
from image_syncer.oci import Digest, InvalidManifest, Manifest, Repository, digest_of, parse_manifest
from image_syncer.registry import NO_REGISTRY_HINT, build_get_manifest, is_page

if TYPE_CHECKING:
    from image_syncer.config import RegistryBook
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["MAX_MANIFEST_BYTES", "ManifestReads"]

MAX_MANIFEST_BYTES = 4 * 2**20


class ManifestReads:
    """Asks through the client; every error says on which side and of which image. What is asked of a source by its
    digest is asked first of the `mirrors` that are in `registries`.
    """

    def __init__(self, client: RegistryClient, endpoints: EndpointBook, registries: RegistryBook) -> None:
        self._client = client
        self._endpoints = endpoints
        self.mirrors = MirrorReads(client, endpoints, registries)

    async def get(self, repository: Repository, target: str, origin: Origin, wanted: Digest | None = None) -> Manifest:
        """The manifest at `target`, a tag or a digest; with `wanted`, one of that digest. Raises NotFoundError,
        IntegrityError, ProtocolViolation and what else may go wrong with a request.
        """
        places: dict[str, Any] = {
            "origin": origin,
            "repository": str(repository),
            "reference": target,
            "operation": "get manifest",
        }
        read: list[Manifest] = []

        def check(response: Response) -> None:
            read[:] = [_read_manifest(response, wanted, places)]

        def build(endpoint: Endpoint, place: Repository) -> Request:
            return build_get_manifest(endpoint, place, target)

        by_digest = wanted is not None and origin is Origin.SOURCE
        if by_digest and await self.mirrors.try_read(repository, build, check):
            return read[0]
        endpoint = await self._endpoints.resolve(repository.registry, origin)
        await self._client.send(build(endpoint, repository), endpoint, origin=origin, check=check)
        return read[0]

    async def get_child(self, repository: Repository, child: Descriptor) -> Manifest:
        """What an index of the source names. Raises IntegrityError where it has not the size that the index says."""
        manifest = await self.get(repository, str(child.digest), Origin.SOURCE, child.digest)
        if child.size >= 0 and len(manifest.raw) != child.size:
            raise IntegrityError(
                f"the index names {child.size} bytes for this child, it has {len(manifest.raw)}",
                origin=Origin.SOURCE,
                operation="get manifest",
                repository=str(repository),
                reference=str(child.digest),
            )
        return manifest


def _read_manifest(response: Response, wanted: Digest | None, places: dict[str, Any]) -> Manifest:
    """The manifest of an answer. Bytes that were damaged on the way may be whole the next time; those that have the
    digest that was asked for never change.
    """
    raw = response.body
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ProtocolViolation(f"the manifest has more than {MAX_MANIFEST_BYTES} bytes", **places)
    algorithm = wanted.algorithm if wanted is not None else "sha256"
    try:
        manifest = parse_manifest(raw, response.headers.get("Content-Type"), algorithm=algorithm)
    except InvalidManifest as error:
        raise ProtocolViolation(
            f"the manifest cannot be used: {error}",
            hint=NO_REGISTRY_HINT if is_page(response) else None,
            retryable=wanted is not None and not is_page(response) and digest_of(raw, algorithm) != wanted,
            **places,
        ) from None
    if wanted is not None and manifest.digest != wanted:
        raise IntegrityError(
            "the manifest's bytes do not have the digest under which it was asked for",
            expected=str(wanted),
            actual=str(manifest.digest),
            retryable=True,
            **places,
        )
    return manifest
