"""Manifests: asking for them, pushing them (OCI distribution specification 1.1: end-3, end-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import MANIFEST_MEDIA_TYPES, media_type_of
from image_syncer.registry.content import check_stored, content_digest, content_length, is_page
from image_syncer.registry.hints import NO_REGISTRY_HINT
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.registry.scope import pull_scope, push_scope
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry.endpoint import Endpoint

__all__ = [
    "ManifestHead",
    "build_get_manifest",
    "build_head_manifest",
    "build_put_manifest",
    "parse_manifest_head",
    "parse_put_manifest",
]

# One header for every manifest request: a registry that is not told of a type converts, or answers 404.
_ACCEPT = (("Accept", ", ".join(MANIFEST_MEDIA_TYPES)),)
_PUT_STATUSES = (201, 200, 202, 204)


class ManifestHead(Value, frozen=True):
    """What the headers of a manifest say; each is None where the registry does not (then only the bytes
    tell).

    `size` is in bytes.
    """

    digest: Digest | None
    media_type: str | None
    size: int | None


def build_head_manifest(endpoint: Endpoint, repository: Repository, target: str) -> Request:
    """Ask whether the manifest `target` (a tag or a digest) is there, and for its digest (section "Checking
    if content exists").
    """
    return _read(Operation.HEAD_MANIFEST, "HEAD", endpoint, repository, target)


def build_get_manifest(endpoint: Endpoint, repository: Repository, target: str) -> Request:
    """Ask for the bytes of the manifest `target`, a tag or a digest (section "Pulling manifests", end-3)."""
    return _read(Operation.GET_MANIFEST, "GET", endpoint, repository, target)


def build_put_manifest(
    endpoint: Endpoint, repository: Repository, target: str, media_type: str, body: bytes
) -> Request:
    """Push the bytes of a manifest as `target`, a tag or a digest (section "Pushing manifests", end-7)."""
    return Request(
        Operation.PUT_MANIFEST,
        "PUT",
        _url(endpoint, repository, target),
        repository,
        headers=(("Content-Type", media_type),),
        body=body,
        scopes=(push_scope(repository),),
    )


def parse_manifest_head(response: Response) -> ManifestHead:
    """What the headers of a HEAD or GET answer say of the manifest (sections "Pulling manifests", "Checking
    if content exists").

    Never raises: a header that makes no sense counts as missing, and the bytes are asked for.
    """
    headers = response.headers
    media_type = media_type_of(headers.get("Content-Type"))
    # No manifest is empty: a length of 0 is a server that does not know it for a HEAD.
    return ManifestHead(content_digest(headers), media_type or None, content_length(headers) or None)


def parse_put_manifest(response: Response, digest: Digest) -> None:
    """Check the answer to a pushed manifest (section "Pushing manifests": 201).

    Raises `ProtocolViolation` on a status that is no success and on a page for people, `IntegrityError` when
    the registry stored another digest.
    """
    if response.status not in _PUT_STATUSES:
        raise ProtocolViolation(
            f"a manifest was pushed and answered with {response.status} instead of 201",
            origin=Origin.DESTINATION,
            operation=Operation.PUT_MANIFEST.value,
            status=response.status,
        )
    if is_page(response):
        raise ProtocolViolation(
            f"a manifest was pushed and answered with {response.status} and a page for people",
            origin=Origin.DESTINATION,
            operation=Operation.PUT_MANIFEST.value,
            status=response.status,
            hint=NO_REGISTRY_HINT,
        )
    check_stored(response, digest, Operation.PUT_MANIFEST, "manifest")


def _url(endpoint: Endpoint, repository: Repository, target: str) -> str:
    return f"{endpoint.base_url}/v2/{repository.name}/manifests/{target}"


def _read(operation: Operation, method: str, endpoint: Endpoint, repository: Repository, target: str) -> Request:
    url = _url(endpoint, repository, target)
    return Request(operation, method, url, repository, headers=_ACCEPT, scopes=(pull_scope(repository),))
