"""Blobs: reading them (OCI distribution specification 1.1, end-2), and uploading them in sessions.

Uploads are end-4a to end-6, end-11, end-13 and end-14. The address of a session is opaque and changes: the newest
`Location` counts. An address on another host, which registries with separate upload services hand out, gets no scopes,
and so no credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.patterns import lazy_pattern
from image_syncer.registry.location import append_query, may_carry_credentials, resolve_own_location, without_query
from image_syncer.registry.message import (
    Operation,
    Request,
    Response,
    Scope,
    check_stored,
    content_length,
    is_page,
    pull_scope,
    push_scope,
)
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry.endpoint import Endpoint


_CONTENT_RANGE = lazy_pattern(r"\s*bytes\s+([0-9]{1,18})-[0-9]{1,18}/(?:([0-9]{1,18})|\*)\s*", re.IGNORECASE)
_MIN_LENGTH = lazy_pattern(r"[0-9]{1,15}")
_RANGE = lazy_pattern(r"\s*(?:bytes=)?0-([0-9]{1,18})\s*")
_MOUNT_ASKED = lazy_pattern(r"[?&]mount=")
_OCTETS = ("Content-Type", "application/octet-stream")
_OK, _CREATED, _ACCEPTED, _PARTIAL_CONTENT = 200, 201, 202, 206
_PUT_STATUSES = (201, 200, 204)
_PATCH_STATUSES = (202, 201, 204)
_STATUS_STATUSES = (204, 200, 202)


class BlobRange(Value, frozen=True):
    """The part of a blob in an answer: from byte `start` to the end; `total_bytes` of the blob, None if unknown."""

    start: int
    total_bytes: int | None


def build_get_blob(endpoint: Endpoint, repository: Repository, digest: Digest, *, offset: int = 0) -> Request:
    """Ask for the bytes of a blob from `offset` on ("Pulling blobs", end-2; ranges: RFC 9110, section 14.2)."""
    url = f"{endpoint.base_url}/v2/{repository.name}/blobs/{digest}"
    headers = (("Range", f"bytes={offset}-"),) if offset else ()
    return Request(Operation.GET_BLOB, "GET", url, repository, headers, scopes=(pull_scope(repository),))


def build_head_blob(endpoint: Endpoint, repository: Repository, digest: Digest) -> Request:
    """Ask whether a blob exists, and for its size ("Checking if content exists in the registry", end-2)."""
    return build_get_blob(endpoint, repository, digest)._replace(operation=Operation.HEAD_BLOB, method="HEAD")


def parse_blob_range(response: Response, offset: int) -> BlobRange:
    """Return where the body of a blob's GET from `offset` begins (RFC 9110, sections 14.4 and 15.3.7).

    A registry that ignores the range (200) begins at 0, and the caller skips what it has. Raises `ProtocolViolation`
    for a partial answer that begins elsewhere, or does not say where.
    """
    if response.status == _OK:
        return BlobRange(0, content_length(response.headers))
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != _PARTIAL_CONTENT or match is None or int(match[1]) != offset:
        given = f"{response.status}, Content-Range {response.headers.get('Content-Range', '')[:80]!r}"
        raise ProtocolViolation(
            f"the bytes from {offset} on were asked for, and the answer was {given}",
            origin=Origin.SOURCE,
            operation=Operation.GET_BLOB.value,
            status=response.status,
        )
    return BlobRange(offset, int(match[2]) if match[2] else None)


class Mounted(Value, frozen=True):
    """The blob was mounted into the repository; `location` is the blob's own address, if the registry names it."""

    location: str | None


class UploadSession(Value, frozen=True):
    """An open upload: `url` is the absolute address for its next request.

    Every chunk but the last has at least `min_chunk_bytes` (`OCI-Chunk-Min-Length`, or 0).
    """

    url: str
    min_chunk_bytes: int = 0

    def __repr__(self) -> str:
        return f"UploadSession({without_query(self.url)!r}, min_chunk_bytes={self.min_chunk_bytes})"


class UploadStatus(Value, frozen=True):
    """The state of an upload: `received_bytes` is None where the registry does not say, or what may mean 0 or 1."""

    session: UploadSession
    received_bytes: int | None


def build_start_upload(
    endpoint: Endpoint,
    repository: Repository,
    *,
    mount: Digest | None = None,
    from_name: str | None = None,
    from_scope: bool = False,
) -> Request:
    """Open an upload session ("POST then PUT", end-4a), or mount a blob, which opens a session where it fails
    ("Mounting a blob from another repository", end-11).

    `mount` is the blob, `from_name` the repository of the same registry that has it, without the registry's name. With
    `from_scope` the token also covers reading that repository.
    """
    url = f"{endpoint.base_url}/v2/{repository.name}/blobs/uploads/"
    scopes: tuple[Scope, ...] = (push_scope(repository),)
    if mount is not None:
        url += f"?mount={mount.replace(':', '%3A')}"
        if from_name is not None:
            url += f"&from={quote(from_name, safe='')}"
            if from_scope and from_name != repository.name:
                scopes += (Scope(from_name, ("pull",)),)
    return Request(Operation.START_UPLOAD, "POST", url, repository, body=b"", scopes=scopes)


def parse_start_upload(response: Response, request_url: str) -> Mounted | UploadSession:
    """Return what the answer to `build_start_upload` opened ("POST then PUT" and "Mounting a blob …").

    201 to a mount means that it succeeded; 202, or 201 without a mount, has the session in `Location`, relative to the
    address that answered. Raises `ProtocolViolation` for other answers.
    """
    location = response.headers.get("Location")
    if response.status == _CREATED and _MOUNT_ASKED.search(request_url):
        return Mounted(location)
    if response.status not in (_ACCEPTED, _CREATED):
        raise _violation(Operation.START_UPLOAD, response, "instead of 201 or 202")
    if not location:
        raise _violation(Operation.START_UPLOAD, response, "without a Location")
    url = resolve_own_location(response.url or request_url, location, origin=Origin.DESTINATION)
    return _session(url, response)


def build_put_upload(
    endpoint: Endpoint, repository: Repository, session: UploadSession, digest: Digest, size: int, *, offset: int = 0
) -> Request:
    """Send the blob of `size` bytes from `offset` on, and close the session ("POST then PUT", end-6).

    The body is the caller's stream. The digest is appended to the session's query, which stays byte for byte.
    """
    url = append_query(session.url, f"digest={digest.replace(':', '%3A')}")  # it has no other reserved character
    headers = _part_headers(offset, size) if offset else (_OCTETS, ("Content-Length", str(size)))
    scopes = (push_scope(repository),) if may_carry_credentials(endpoint.base_url, url) else ()
    return Request(Operation.PUT_UPLOAD, "PUT", url, repository, headers, scopes=scopes)


def build_patch_upload(
    endpoint: Endpoint, repository: Repository, session: UploadSession, begin: int, end: int
) -> Request:
    """Send the bytes from `begin` up to `end` of the caller's stream as a piece ("Pushing a blob in chunks", end-5)."""
    request = _about(Operation.PATCH_UPLOAD, "PATCH", endpoint, repository, session)
    return request._replace(headers=_part_headers(begin, end))


def parse_patch_upload(response: Response, request_url: str) -> UploadSession:
    """Return the session after a piece ("Pushing a blob in chunks": 202 with a `Location`; ECR says 201, others 204).

    Without a `Location` the address stays. Raises `ProtocolViolation` for another status.
    """
    if response.status not in _PATCH_STATUSES:
        raise _violation(Operation.PATCH_UPLOAD, response, "instead of 202")
    return _session(_next_url(response, request_url), response)


def parse_put_upload(response: Response, digest: Digest) -> None:
    """Check the answer that closes an upload ("POST then PUT": 201; some registries say 200 or 204).

    Raises `ProtocolViolation` for another status or a web page, `IntegrityError` for another digest.
    """
    if response.status not in _PUT_STATUSES:
        raise _violation(Operation.PUT_UPLOAD, response, "instead of 201")
    if is_page(response):
        raise _violation(Operation.PUT_UPLOAD, response, "and a page for people")
    if response.headers.get("Docker-Content-Digest") != digest:  # nearly every registry sends it
        check_stored(response, digest, Operation.PUT_UPLOAD, "blob", digest=digest)


def build_get_upload(endpoint: Endpoint, repository: Repository, session: UploadSession) -> Request:
    """Ask for the state of an upload and its new address ("Pushing a blob in chunks", end-13)."""
    return _about(Operation.GET_UPLOAD, "GET", endpoint, repository, session)


def parse_upload_status(response: Response, request_url: str) -> UploadStatus:
    """Return the state of the upload ("Pushing a blob in chunks": 204, `Range: 0-<last byte>`, `Location`).

    "0-0" may mean no byte or one, so it counts as unknown. Without a `Location` the address stays. Raises
    `ProtocolViolation` for another status.
    """
    if response.status not in _STATUS_STATUSES:
        raise _violation(Operation.GET_UPLOAD, response, "instead of 204")
    url = _next_url(response, request_url)
    match = _RANGE.fullmatch(response.headers.get("Range", ""))
    last = int(match[1]) if match else 0
    return UploadStatus(_session(url, response), last + 1 if last else None)


def build_cancel_upload(endpoint: Endpoint, repository: Repository, session: UploadSession) -> Request:
    """Cancel an upload, so that the registry frees its bytes ("Canceling a blob upload", end-14)."""
    return _about(Operation.CANCEL_UPLOAD, "DELETE", endpoint, repository, session)


def _next_url(response: Response, request_url: str) -> str:
    location = response.headers.get("Location") or request_url
    return resolve_own_location(request_url, location, origin=Origin.DESTINATION)


def _part_headers(begin: int, end: int) -> tuple[tuple[str, str], ...]:
    """Return the headers of a piece; `Content-Range` has neither unit nor total, and is left out of an empty piece."""
    headers = _OCTETS, ("Content-Length", str(end - begin))
    return (*headers, ("Content-Range", f"{begin}-{end - 1}")) if end > begin else headers


def _session(url: str, response: Response) -> UploadSession:
    """Return the session at `url`, with what the answer says of its pieces."""
    match = _MIN_LENGTH.fullmatch(response.headers.get("OCI-Chunk-Min-Length", "").strip())
    return UploadSession(url, int(match[0]) if match else 0)


def _about(
    operation: Operation, method: str, endpoint: Endpoint, repository: Repository, session: UploadSession
) -> Request:
    """Return a request to the session; on another host it gets no scopes, and so no credentials."""
    scopes = (push_scope(repository),) if may_carry_credentials(endpoint.base_url, session.url) else ()
    return Request(operation, method, session.url, repository, scopes=scopes)


def _violation(operation: Operation, response: Response, what: str) -> ProtocolViolation:
    return ProtocolViolation(
        f"the registry answered {operation} with {response.status} {what}",
        origin=Origin.DESTINATION,
        operation=operation.value,
        request=without_query(response.url),
        status=response.status,
    )
