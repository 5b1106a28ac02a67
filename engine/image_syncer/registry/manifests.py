"""Manifests: requests to read, push and delete them, and blobs' deletion (OCI distribution specification 1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import MANIFEST_MEDIA_TYPES, media_type_of
from image_syncer.registry.failures import NO_REGISTRY_HINT
from image_syncer.registry.message import (
    Operation,
    Request,
    Response,
    Scope,
    check_stored,
    content_digest,
    content_length,
    is_page,
    pull_scope,
    push_scope,
)
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry.endpoint import Endpoint


# One header for every manifest request: a registry converts a type that is not in it, or answers 404.
_ACCEPT = (("Accept", ", ".join(MANIFEST_MEDIA_TYPES)),)
_PUT_STATUSES = (201, 200, 202, 204)


def build_delete_manifest(endpoint: Endpoint, repository: Repository, target: str) -> Request:
    """Delete a manifest by its digest, with its tags, or one tag where the registry can ("Deleting tags", end-9).

    Registries that do not delete answer 405.
    """
    return _deletion(Operation.DELETE_MANIFEST, _url(endpoint, repository, target), repository)


def build_delete_blob(endpoint: Endpoint, repository: Repository, digest: Digest) -> Request:
    """Delete a blob ("Deleting Blobs", end-10). Registries that do not delete answer 405."""
    return _deletion(Operation.DELETE_BLOB, f"{endpoint.base_url}/v2/{repository.name}/blobs/{digest}", repository)


def _deletion(operation: Operation, url: str, repository: Repository) -> Request:
    return Request(operation, "DELETE", url, repository, scopes=(Scope(repository.name, ("delete",)),))


class ManifestHead(Value, frozen=True):
    """Digest, media type and size in bytes by the headers of an answer; each is None where it is not said."""

    digest: Digest | None
    media_type: str | None
    size: int | None


def build_head_manifest(endpoint: Endpoint, repository: Repository, target: str) -> Request:
    """Ask whether the manifest `target`, a tag or a digest, exists ("Checking if content exists")."""
    return _read(Operation.HEAD_MANIFEST, "HEAD", endpoint, repository, target)


def build_get_manifest(endpoint: Endpoint, repository: Repository, target: str) -> Request:
    """Ask for the bytes of the manifest `target`, a tag or a digest ("Pulling manifests", end-3)."""
    return _read(Operation.GET_MANIFEST, "GET", endpoint, repository, target)


def build_put_manifest(
    endpoint: Endpoint, repository: Repository, target: str, media_type: str, body: bytes
) -> Request:
    """Push the bytes of a manifest as `target`, a tag or a digest ("Pushing manifests", end-7)."""
    url, headers = _url(endpoint, repository, target), (("Content-Type", media_type),)
    return Request(Operation.PUT_MANIFEST, "PUT", url, repository, headers, body, (push_scope(repository),))


def parse_manifest_head(response: Response) -> ManifestHead:
    """Return what the headers of a HEAD or GET say of the manifest; an unusable header counts as missing."""
    headers = response.headers
    media_type = media_type_of(headers.get("Content-Type"))
    # No manifest is empty: servers that do not know the length say 0 to a HEAD.
    return ManifestHead(content_digest(headers), media_type or None, content_length(headers) or None)


def parse_put_manifest(response: Response, digest: Digest) -> None:
    """Check the answer to a pushed manifest ("Pushing manifests": 201).

    Raises `ProtocolViolation` for another status or a web page, `IntegrityError` for another digest.
    """
    accepted = response.status in _PUT_STATUSES
    if not accepted or is_page(response):
        what = "and a page for people" if accepted else "instead of 201"
        raise ProtocolViolation(
            f"a manifest was pushed and answered with {response.status} {what}",
            origin=Origin.DESTINATION,
            operation=Operation.PUT_MANIFEST.value,
            status=response.status,
            hint=NO_REGISTRY_HINT if accepted else None,
        )
    check_stored(response, digest, Operation.PUT_MANIFEST, "manifest")


def _url(endpoint: Endpoint, repository: Repository, target: str) -> str:
    return f"{endpoint.base_url}/v2/{repository.name}/manifests/{target}"


def _read(operation: Operation, method: str, endpoint: Endpoint, repository: Repository, target: str) -> Request:
    url = _url(endpoint, repository, target)
    return Request(operation, method, url, repository, headers=_ACCEPT, scopes=(pull_scope(repository),))
