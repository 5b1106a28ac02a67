"""The configuration of an image: a small blob that says of what platform it is and when it was created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, Origin
from image_syncer.registry import build_get_blob

if TYPE_CHECKING:
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Manifest, Repository

__all__ = ["read_config"]

MAX_CONFIG_BYTES = 4 * 2**20


async def read_config(
    client: RegistryClient, endpoints: EndpointBook, repository: Repository, manifest: Manifest
) -> bytes | None:
    """The bytes of the configuration of a source's `manifest`; None where it has none, or one that is none by its size.
    Raises IntegrityError where they do not have its digest, and other `SyncError`s.
    """
    config = manifest.config
    if config is None or config.size > MAX_CONFIG_BYTES:
        return None
    endpoint = await endpoints.resolve(repository.registry, Origin.SOURCE)
    request = build_get_blob(endpoint, repository, config.digest)
    body = (await client.send(request, endpoint, origin=Origin.SOURCE)).body
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
