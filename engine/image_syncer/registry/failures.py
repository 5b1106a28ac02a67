"""Failures: which error an answer is, and whether trying again can help.

Statuses lie now and then; the registry's own error codes (OCI distribution specification 1.1, section "Error
Codes") and the words of a body decide where they say more.

Failures of a place: an image layout or an archive that a process of our own serves as a registry. People gave a
path, and read of files, not of requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.errors import (
    AuthenticationError,
    NotFoundError,
    Origin,
    ProtocolViolation,
    RateLimitedError,
    RefusedError,
    RegistryError,
    UnavailableError,
)
from image_syncer.oci import is_place
from image_syncer.registry.challenge import parse_challenges
from image_syncer.registry.error_body import parse_error_body
from image_syncer.registry.hints import find_hint
from image_syncer.registry.location import same_origin, without_query
from image_syncer.registry.message import Operation
from image_syncer.registry.profiles import GENERIC, Meaning, find_sign
from image_syncer.registry.retry_after import retry_after_s
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.registry.error_body import ErrorBody
    from image_syncer.registry.message import Request, Response
    from image_syncer.registry.profiles import Profile

__all__ = ["find_place_hint", "is_at_place", "is_retryable_status", "parse_failure", "tell_place_failure"]


_INSUFFICIENT_STORAGE = 507
_READS = frozenset(
    {Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.HEAD_BLOB, Operation.GET_BLOB, Operation.LIST_TAGS}
)
_FULL = "Free space on that file system, or raise the quota there, then run again: what has arrived is kept."
_DAMAGED = (
    "The layout names what it does not have, or what has other bytes than its digest says: look at the file of that "
    "name in blobs, or have the layout made again."
)


def is_at_place(request: Request) -> bool:
    """Whether `request` goes to a place and to no registry."""
    return request.repository is not None and is_place(request.repository.registry)


def tell_place_failure(request: Request, body: ErrorBody) -> str:
    """One line about the failure `body` of `request`, whose address nobody has ever seen."""
    _, coded, said = body.line.partition(": ")
    said = said if coded and body.codes else body.line
    if _names_what_is_missing(request, body):
        kind = "blob" if "blob" in request.operation.value else "manifest"
        said = f"there is no {kind} {_digest_in(request)}"
    return f"{'cannot be read' if request.operation in _READS else 'cannot be written'}: {said or 'no reason is known'}"


def find_place_hint(status: int, request: Request, body: ErrorBody) -> str | None:
    """What the user can do about the failure; None where the line says it all."""
    if status == _INSUFFICIENT_STORAGE:
        return _FULL
    return _DAMAGED if _names_what_is_missing(request, body) else None


def _names_what_is_missing(request: Request, body: ErrorBody) -> bool:
    """Whether something was read by its digest, and is not there."""
    is_missing = not {"BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}.isdisjoint(body.codes)
    return is_missing and request.operation in _READS and _digest_in(request) != ""


def _digest_in(request: Request) -> str:
    """The digest that `request` asks for; "" where it asks for a name."""
    last = request.url.partition("?")[0].rpartition("/")[2]
    return last if ":" in last else ""


_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_RANGE_NOT_SATISFIABLE = 416
_TOO_MANY_REQUESTS = 429
# 499 is nginx's "client closed request", which proxies pass on when the registry behind them was too slow.
_TRANSIENT_CLIENT_STATUSES = frozenset({408, 499})
_LASTING_SERVER_STATUSES = frozenset({501, 505, 507, 511})
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)

# A session that is gone, or bytes that were damaged on the way: a new session with the same blob can succeed.
_NEW_SESSION_CODES = frozenset(
    {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID", "DIGEST_INVALID", "SIZE_INVALID"}
)
_SESSION_OPERATIONS = frozenset({Operation.PATCH_UPLOAD, Operation.PUT_UPLOAD, Operation.GET_UPLOAD})
_MANIFEST_OPERATIONS = frozenset({Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.PUT_MANIFEST})
_BLOB_OPERATIONS = frozenset({Operation.HEAD_BLOB, Operation.GET_BLOB})
_SIGNED_OPERATIONS = _BLOB_OPERATIONS | _SESSION_OPERATIONS | {Operation.CANCEL_UPLOAD}
_REQUEST_IDS = (
    *("X-Request-Id", "X-Correlation-Id"),  # Harbor, GitHub, Quay, Artifactory, and proxies
    *("x-amzn-RequestId", "x-amz-request-id", "X-Amz-Cf-Id"),  # ECR, S3, CloudFront
    *("X-Ms-Correlation-Request-Id", "x-ms-request-id"),  # Azure's registry and its blob storage
    *("X-GUploader-UploadID", "CF-Ray", "X-GitHub-Request-Id"),  # Google's storage, Cloudflare (Docker Hub), ghcr.io
)
_MOST_ID_CHARS = 200
# What is said where the answer says nothing: RFC 9110, section 15, nginx (499) and Cloudflare (52x).
_PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    499: "Client Closed Request",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
    520: "Unknown Error",
    522: "Connection Timed Out",
    524: "Timeout",
}


def is_retryable_status(status: int) -> bool:
    """Whether a later try can be answered otherwise: 429, time-outs, and the 5xx that speak of a moment (RFC
    9110, section 15.6).
    """
    if status in _SERVER_ERRORS:
        return status not in _LASTING_SERVER_STATUSES
    return status == _TOO_MANY_REQUESTS or status in _TRANSIENT_CLIENT_STATUSES


def parse_failure(
    response: Response,
    *,
    request: Request,
    origin: Origin,
    now_epoch_s: float | None = None,
    profile: Profile = GENERIC,
) -> RegistryError:
    """The error that a failed answer to `request` is, on the side `origin`; `profile` is that of the registry.

    `now_epoch_s` is needed only for a `Retry-After` that is a date in an answer without `Date`. The error is
    returned, not raised.
    """
    body = parse_error_body(response)
    status = response.status
    elsewhere = _is_elsewhere(request, response)
    sign = None
    if status >= _CLIENT_ERRORS.start:
        # What stores its blobs is no registry, and does not speak as one.
        sign = find_sign(GENERIC if elsewhere else profile, status, body.codes, body.text, request.operation)
    meaning = sign.meaning if sign is not None else None
    limited = meaning is Meaning.WAIT or status == _TOO_MANY_REQUESTS
    codes = _codes(response, body, limited=limited)
    body = replace(body, codes=codes)
    line = f"{request.method} {without_query(response.url or request.url)}"
    if is_at_place(request):
        message, hint = tell_place_failure(request, body), find_place_hint(status, request, body)
    else:
        message = f"{line} answered {status} {body.line or _PHRASES.get(status, '')}".rstrip()
        hint = find_hint(status, body, request, origin=origin, sign=sign, elsewhere=elsewhere)
    fields: dict[str, Any] = {
        "origin": origin,
        "operation": request.operation.value,
        "repository": str(request.repository) if request.repository else None,
        **_subject(request),
        "request": line,
        "status": status,
        "codes": codes,
        "request_ids": _request_ids(response),
        "hint": hint,
    }
    if limited:
        return RateLimitedError(message, retry_after_s=retry_after_s(response.headers, now_epoch_s), **fields)
    if status in _SERVER_ERRORS or status in _TRANSIENT_CLIENT_STATUSES:
        retryable = is_retryable_status(status) and meaning is not Meaning.FULL
        wait_s = retry_after_s(response.headers, now_epoch_s)
        return UnavailableError(message, retry_after_s=wait_s, retryable=retryable, **fields)
    if elsewhere and status in (_UNAUTHORIZED, _FORBIDDEN):
        # An expired signature: the registry hands out a new one.
        return UnavailableError(message, **fields)
    return _client_error(status, codes, request)(
        message, retryable=_needs_new_session(status, codes, request), **fields
    )


def _client_error(status: int, codes: tuple[str, ...], request: Request) -> type[RegistryError]:
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return AuthenticationError
    # OAuth2 token services answer 400 to a refresh token they do not take (RFC 6749, section 5.2).
    if request.operation is Operation.GET_TOKEN and "INVALID_GRANT" in codes:
        return AuthenticationError
    if status == _NOT_FOUND:
        return NotFoundError
    return RefusedError if status in _CLIENT_ERRORS else ProtocolViolation


def _needs_new_session(status: int, codes: tuple[str, ...], request: Request) -> bool:
    if request.operation not in _SESSION_OPERATIONS:
        return False
    return status == _RANGE_NOT_SATISFIABLE or not _NEW_SESSION_CODES.isdisjoint(codes)


def _codes(response: Response, body: ErrorBody, *, limited: bool) -> tuple[str, ...]:
    """The registry's codes, and those that the rest of the answer stands for."""
    codes = body.codes
    if response.status == _UNAUTHORIZED:
        challenges = parse_challenges(response.headers.get_all("WWW-Authenticate"))
        if "insufficient_scope" in {each.params.get("error") for each in challenges}:  # RFC 6750, section 3.1
            codes = (*codes, "INSUFFICIENT_SCOPE")
    if limited:
        return codes or ("TOOMANYREQUESTS",)
    return codes or (("DENIED",) if response.status == _FORBIDDEN else ())


def _is_elsewhere(request: Request, response: Response) -> bool:
    """Whether a signed address on another host answered: after a redirect, or of an upload that the registry
    sent there. A challenge is not what a signature gets for an answer: that host is a registry.
    """
    if request.operation not in _SIGNED_OPERATIONS or "WWW-Authenticate" in response.headers:
        return False
    return not request.scopes or (response.url != "" and not same_origin(request.url, response.url))


def _request_ids(response: Response) -> dict[str, str]:
    """By what the operators of the registry, and of what stands before it, find this request in their logs."""
    found = ((name, response.headers.get(name)) for name in _REQUEST_IDS)
    return {name: value[:_MOST_ID_CHARS] for name, value in found if value}


def _subject(request: Request) -> dict[str, str]:
    """The manifest or blob that was asked for, out of an address that was built here and not handed out."""
    name = request.repository.name if request.repository else ""
    if request.operation in _MANIFEST_OPERATIONS:
        field, prefix = "reference", f"/v2/{name}/manifests/"
    elif request.operation in _BLOB_OPERATIONS:
        field, prefix = "digest", f"/v2/{name}/blobs/"
    else:
        return {}
    _, built, subject = without_query(request.url).rpartition(prefix)
    return {field: subject} if built else {}
