"""Uploads of blobs: a session is opened by POST, may be given pieces by PATCH, and is closed by one PUT with all bytes
that are left (OCI distribution specification 1.1: end-4b, end-5, end-6, end-11, end-13, end-14).

The address of a session is opaque and changes: the newest `Location` is the one to use. An address on another
host, which registries with upload services of their own hand out, gets no scopes: what the registry knows us
by is not sent there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.registry.content import check_stored, is_page
from image_syncer.registry.location import append_query, resolve_own_location, same_origin, without_query
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.registry.scope import Scope, push_scope
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry.endpoint import Endpoint

__all__ = [
    "Mounted",
    "UploadSession",
    "UploadStatus",
    "build_cancel_upload",
    "build_get_upload",
    "build_patch_upload",
    "build_put_upload",
    "build_start_upload",
    "parse_patch_upload",
    "parse_put_upload",
    "parse_start_upload",
    "parse_upload_status",
]

_CREATED = 201
_ACCEPTED = 202
_PUT_STATUSES = (201, 200, 204)
_PATCH_STATUSES = (202, 201, 204)
_STATUS_STATUSES = (204, 200, 202)
_MIN_LENGTH = re.compile(r"[0-9]{1,15}")
_RANGE = re.compile(r"\s*(?:bytes=)?0-([0-9]{1,18})\s*")
_MOUNT_ASKED = re.compile(r"[?&]mount=")


class Mounted(Value, frozen=True):
    """The blob is in the repository now, and no byte has to be sent; `location` is the blob's own address, if
    it was given.
    """

    location: str | None


class UploadSession(Value, frozen=True):
    """An open upload: `url` is the absolute address for its next request.

    Every chunk but the last has at least `min_chunk_bytes` (`OCI-Chunk-Min-Length`); 0 where the registry
    does not care.
    """

    url: str
    min_chunk_bytes: int = 0

    def __repr__(self) -> str:
        return f"UploadSession({without_query(self.url)!r}, min_chunk_bytes={self.min_chunk_bytes})"


class UploadStatus(Value, frozen=True):
    """How far an upload came: `received_bytes` is None where the registry does not say, or says what may mean
    0 or 1.
    """

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
    """Open an upload session (section "POST then PUT", end-4a), or mount a blob of the same registry (section
    "Mounting a blob from another repository", end-11), which opens a session where it cannot.

    `mount` is the blob, `from_name` the repository, on the same registry and without its name, that has it.
    With `from_scope` the token is asked for the right to read that repository too.
    """
    url = f"{endpoint.base_url}/v2/{repository.name}/blobs/uploads/"
    scopes: tuple[Scope, ...] = (push_scope(repository),)
    if mount is not None:
        url += f"?mount={quote(mount, safe='')}"
        if from_name is not None:
            url += f"&from={quote(from_name, safe='')}"
            if from_scope and from_name != repository.name:
                scopes += (Scope(from_name, ("pull",)),)
    return Request(Operation.START_UPLOAD, "POST", url, repository, body=b"", scopes=scopes)


def parse_start_upload(response: Response, request_url: str) -> Mounted | UploadSession:
    """What the answer to `build_start_upload` opened (sections "POST then PUT" and "Mounting a blob from
    another repository").

    201 to a mount means that the blob is there; 202, or 201 without a mount, carries the session in
    `Location`, relative to the address that answered. Raises `ProtocolViolation` on other answers.
    """
    location = response.headers.get("Location")
    if response.status == _CREATED and _MOUNT_ASKED.search(request_url):
        return Mounted(location)
    if response.status not in (_ACCEPTED, _CREATED):
        raise _violation(Operation.START_UPLOAD, response, "instead of 201 or 202")
    return _session(Operation.START_UPLOAD, response, request_url)


def build_put_upload(
    endpoint: Endpoint, repository: Repository, session: UploadSession, digest: Digest, size: int, *, offset: int = 0
) -> Request:
    """Send what is left of the blob of `size` bytes from byte `offset` on, and close the session (sections "POST then
    PUT", end-6, and "Pushing a blob in chunks").

    The body is the caller's stream. The digest goes at the end of the session's query, of which every byte
    stays.
    """
    return Request(
        Operation.PUT_UPLOAD,
        "PUT",
        append_query(session.url, f"digest={quote(digest, safe='')}"),
        repository,
        headers=_part_headers(offset, size) if offset else _body_headers(size),
        scopes=_scopes(endpoint, repository, session),
    )


def build_patch_upload(
    endpoint: Endpoint, repository: Repository, session: UploadSession, begin: int, end: int
) -> Request:
    """Send the bytes from `begin` to `end` (that one left out) as a piece of the blob (section "Pushing a blob in
    chunks", end-5). The body is the caller's stream.
    """
    scopes = _scopes(endpoint, repository, session)
    headers = _part_headers(begin, end)
    return Request(Operation.PATCH_UPLOAD, "PATCH", session.url, repository, headers=headers, scopes=scopes)


def parse_patch_upload(response: Response, request_url: str) -> UploadSession:
    """Where the upload goes on after a piece (section "Pushing a blob in chunks": 202 with a `Location`; ECR says 201,
    others 204). Without a `Location` the address stays. Raises `ProtocolViolation` on another status.
    """
    if response.status not in _PATCH_STATUSES:
        raise _violation(Operation.PATCH_UPLOAD, response, "instead of 202")
    return UploadSession(_next_url(response, request_url), _min_chunk_bytes(response))


def parse_put_upload(response: Response, digest: Digest) -> None:
    """Check the answer that closes an upload (section "POST then PUT": 201; some registries say 200 or 204).

    Raises `ProtocolViolation` on another status and on a page for people, `IntegrityError` when the registry
    stored another digest.
    """
    if response.status not in _PUT_STATUSES:
        raise _violation(Operation.PUT_UPLOAD, response, "instead of 201")
    if is_page(response):
        raise _violation(Operation.PUT_UPLOAD, response, "and a page for people")
    check_stored(response, digest, Operation.PUT_UPLOAD, "blob", digest=digest)


def build_get_upload(endpoint: Endpoint, repository: Repository, session: UploadSession) -> Request:
    """Ask how far an upload came and for its fresh address (section "Pushing a blob in chunks", end-13)."""
    scopes = _scopes(endpoint, repository, session)
    return Request(Operation.GET_UPLOAD, "GET", session.url, repository, scopes=scopes)


def parse_upload_status(response: Response, request_url: str) -> UploadStatus:
    """How far the upload came (section "Pushing a blob in chunks": 204, `Range: 0-<last byte>`, `Location`).

    "0-0" is said for nothing as well as for one byte, so it counts as unknown. Raises `ProtocolViolation` on
    another status; without a `Location` the address stays.
    """
    if response.status not in _STATUS_STATUSES:
        raise _violation(Operation.GET_UPLOAD, response, "instead of 204")
    url = _next_url(response, request_url)
    match = _RANGE.fullmatch(response.headers.get("Range", ""))
    last = int(match[1]) if match else 0
    return UploadStatus(UploadSession(url, _min_chunk_bytes(response)), last + 1 if last else None)


def build_cancel_upload(endpoint: Endpoint, repository: Repository, session: UploadSession) -> Request:
    """Give an upload up, so that the registry frees its bytes (section "Canceling a blob upload", end-14)."""
    scopes = _scopes(endpoint, repository, session)
    return Request(Operation.CANCEL_UPLOAD, "DELETE", session.url, repository, scopes=scopes)


def _session(operation: Operation, response: Response, request_url: str) -> UploadSession:
    location = response.headers.get("Location")
    if not location:
        raise _violation(operation, response, "without a Location")
    url = resolve_own_location(response.url or request_url, location, origin=Origin.DESTINATION)
    return UploadSession(url, _min_chunk_bytes(response))


def _next_url(response: Response, request_url: str) -> str:
    location = response.headers.get("Location") or request_url
    return resolve_own_location(request_url, location, origin=Origin.DESTINATION)


def _body_headers(length: int) -> tuple[tuple[str, str], ...]:
    return ("Content-Type", "application/octet-stream"), ("Content-Length", str(length))


def _part_headers(begin: int, end: int) -> tuple[tuple[str, str], ...]:
    """`Content-Range` of an upload is written without a unit and without a total; nothing has no range."""
    headers = _body_headers(end - begin)
    return (*headers, ("Content-Range", f"{begin}-{end - 1}")) if end > begin else headers


def _min_chunk_bytes(response: Response) -> int:
    match = _MIN_LENGTH.fullmatch(response.headers.get("OCI-Chunk-Min-Length", "").strip())
    return int(match[0]) if match else 0


def _scopes(endpoint: Endpoint, repository: Repository, session: UploadSession) -> tuple[Scope, ...]:
    return (push_scope(repository),) if same_origin(endpoint.base_url, session.url) else ()


def _violation(operation: Operation, response: Response, what: str) -> ProtocolViolation:
    return ProtocolViolation(
        f"the registry answered {operation} with {response.status} {what}",
        origin=Origin.DESTINATION,
        operation=operation.value,
        request=without_query(response.url),
        status=response.status,
    )
