"""Failures: which error an answer is, whether a retry can help, and a hint for a user who knows neither side.

The registry's error codes (OCI distribution specification 1.1, "Error Codes") and words of a body override statuses,
which are sometimes wrong. Also what a registry says of its limits: `Retry-After` (RFC 9110, section 10.2.3), and
`RateLimit` fields in the forms of Docker Hub and of draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

import re
from calendar import timegm
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.errors import (
    AuthenticationError,
    NotFoundError,
    Origin,
    ProtocolViolation,
    RateLimitedError,
    RefusedError,
    RegistryError,
    UnavailableError,
    redact,
)
from image_syncer.oci import is_place
from image_syncer.patterns import lazy_pattern
from image_syncer.registry.location import origin_of, same_origin, without_query
from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import GENERIC, READS, WRITES, Meaning
from image_syncer.registry.profiles.recognition import find_sign
from image_syncer.registry.tokens import parse_challenges
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.oci import Repository
    from image_syncer.registry.message import Headers, Request, Response, Scope
    from image_syncer.registry.profiles.profile import Profile, Sign


_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_PROXY_LOGIN = 407
_PAYLOAD_TOO_LARGE = 413
_RANGE_NOT_SATISFIABLE = 416
_TOO_MANY_REQUESTS = 429
_INSUFFICIENT_STORAGE = 507
# 499 is nginx's "client closed request", which proxies pass on when the registry behind them was too slow.
_TRANSIENT_CLIENT_STATUSES = frozenset({408, 499})
_LASTING_SERVER_STATUSES = frozenset({501, 505, 507, 511})
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)
MAX_RETRY_AFTER_S = 6 * 3600.0
"""Docker Hub's window, the longest known: a larger value is a broken or hostile answer."""

_SECONDS = lazy_pattern(r"[0-9]+(?:\.[0-9]+)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_YEAR = r"(?P<year>[0-9]{4}|[0-9]{2})"
_DATES = (
    # Sun, 06 Nov 1994 08:49:37 GMT, and the obsolete Sunday, 06-Nov-94 08:49:37 GMT
    rf"[a-z]+,\s*(?P<day>[0-9]{{1,2}})[ -](?P<month>[a-z]{{3}})[ -]{_YEAR}\s+{_TIME}\s+(?:gmt|utc)",
    # the obsolete Sun Nov  6 08:49:37 1994
    rf"[a-z]{{3}}\s+(?P<month>[a-z]{{3}})\s+(?P<day>[0-9]{{1,2}})\s+{_TIME}\s+(?P<year>[0-9]{{4}})",
)
_EPOCH_YEAR = 1970


def retry_after_s(headers: Headers, now_epoch_s: float | None) -> float | None:
    """Return the seconds of `Retry-After`, up to `MAX_RETRY_AFTER_S`; None where it is missing or unusable.

    A date counts from the registry's own `Date`, so that a wrong clock does no harm, else from `now_epoch_s`.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    until, now = parse_http_date(text), _answered_at(headers, now_epoch_s)
    return None if until is None or now is None else min(max(0.0, until - now), MAX_RETRY_AFTER_S)


def _answered_at(headers: Headers, now_epoch_s: float | None) -> float | None:
    said_at = parse_http_date(headers.get("Date", "").strip())
    return now_epoch_s if said_at is None else said_at


def parse_http_date(text: str) -> float | None:
    """Return the epoch seconds of a date in one of HTTP's three forms (RFC 9110, section 5.6.7), else None."""
    for pattern in _DATES:
        match = re.fullmatch(pattern, text, re.IGNORECASE)
        if match is not None and match["month"].lower() in _MONTHS:
            month = _MONTHS.index(match["month"].lower()) + 1
            year = int(match["year"])
            if len(match["year"]) == len("94"):
                year += 1900 if year >= _EPOCH_YEAR % 100 else 2000
            parts = (int(match[name]) for name in ("day", "hour", "minute", "second"))
            return float(timegm((year, month, *parts))) if year >= _EPOCH_YEAR else None
    return None


_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,6})?"
_FIRST = lazy_pattern(rf"\s*({_NUMBER})")
_PARAMETER = lazy_pattern(rf"(?:^|[;,\s])(limit|remaining|reset|q|w|r|t)\s*=\s*\"?({_NUMBER})", re.IGNORECASE)
_EPOCH_S = 1e9
"""A larger reset is a date: as seconds to wait it would be thirty years."""
_MOST_TEXT = 1024


class Allowance(Value, frozen=True):
    """`remaining` requests are left for `reset_s` seconds, of `limit` in `window_s` seconds; None is unknown."""

    limit: float | None = None
    window_s: float | None = None
    remaining: int | None = None
    reset_s: float | None = None

    @property
    def per_s(self) -> float | None:
        """The sustainable rate, in requests a second."""
        return self.limit / self.window_s if self.limit and self.window_s else None


def parse_allowance(headers: Headers, now_epoch_s: float | None = None) -> Allowance | None:
    """Return the limit in the header fields of an answer, of several the one with the least remaining; None without.

    Docker Hub sends `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`, drafts up to 06
    `RateLimit-Limit: 100, 100;w=60`, `RateLimit-Remaining: 50` and `RateLimit-Reset: 30`, with or without `X-`, draft
    07 `RateLimit: limit=100, remaining=50, reset=30`, later ones `RateLimit: "default";r=50;t=30` and
    `RateLimit-Policy: "default";q=100;w=60`. GitHub's and GitLab's reset is a date, which counts from the answer's
    `Date` or else from `now_epoch_s`.
    """
    found = _structured(headers) or _separate(headers)
    if found is None:
        return None
    limit, window_s, remaining, reset_s = found
    if reset_s is not None and reset_s >= _EPOCH_S:
        now = _answered_at(headers, now_epoch_s)
        reset_s = None if now is None else max(0.0, reset_s - now)
    return Allowance(limit, window_s, None if remaining is None else int(remaining), reset_s)


_Found = tuple["float | None", "float | None", "float | None", "float | None"]


def _structured(headers: Headers) -> _Found | None:
    """Return the limit of `RateLimit` and `RateLimit-Policy` (drafts 07 and later)."""
    text = headers.get("RateLimit", "")[:_MOST_TEXT]
    if not text:
        return None
    policies = dict(_items(headers.get("RateLimit-Policy", "")[:_MOST_TEXT]))
    best: _Found | None = None
    for name, fields in _items(text) if '"' in text else [("", _parameters(text))]:
        policy = policies.get(name, next(iter(policies.values()), {}))
        found = (
            policy.get("q", fields.get("limit")),
            policy.get("w"),
            fields.get("r", fields.get("remaining")),
            fields.get("t", fields.get("reset")),
        )
        if found[2] is not None and (best is None or best[2] is None or found[2] < best[2]):
            best = found
    return best


def _items(text: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the members of a list (RFC 9651, section 3.1): the name before the first semicolon, and the parameters."""
    for part in text.split(","):
        name, _, rest = part.strip().partition(";")
        if rest:
            yield name.strip().strip('"'), _parameters(rest)


def _separate(headers: Headers) -> _Found | None:
    """Return the limit of `RateLimit-Limit`, `-Remaining` and `-Reset`."""
    for prefix in ("RateLimit-", "X-RateLimit-"):
        limit_text = headers.get(f"{prefix}Limit", "")[:_MOST_TEXT]
        remaining_text = headers.get(f"{prefix}Remaining", "")[:_MOST_TEXT]
        remaining = _first(remaining_text)
        if remaining is None:
            continue
        window_s = _parameters(remaining_text).get("w", _parameters(limit_text).get("w"))
        return _first(limit_text), window_s, remaining, _first(headers.get(f"{prefix}Reset", "")[:_MOST_TEXT])
    return None


def _parameters(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, number in _PARAMETER.findall(text):
        found.setdefault(name.lower(), float(number))
    return found


def _first(text: str) -> float | None:
    match = _FIRST.match(text)
    return float(match[1]) if match else None


_MANIFEST_READS = frozenset({Operation.HEAD_MANIFEST, Operation.GET_MANIFEST})

# nginx, Go, Apache, Tomcat
_TLS_WANTED = (
    "plain http request was sent to https port",
    "sent an http request to an https server",
    "speaking plain http to an ssl-enabled server port",
    "combination of host and port requires tls",
)
_PROXY = (
    "A proxy on the way wants a user name and a password, or others: write user:password@ before its host (`proxy` "
    "of the registry's entry, or http_proxy in the environment)."
)
_TLS = "This port speaks TLS and was asked in plain HTTP: leave `insecure` out for this registry."
_TOO_LARGE = (
    "The registry, or a proxy in front of it, takes no request of this size or has no room for it: raise the "
    "limit there (nginx: client_max_body_size), or the quota."
)
_STORAGE = "The signed address that the registry gave was not accepted: it has expired, or a clock is wrong."
NO_REGISTRY_HINT = "This is not the answer of a registry: check the name of the host, its port and any proxy."
"""The hint for a web page."""
_TROUBLE = "The registry, or a proxy in front of it, has trouble of its own: run again later, or ask who runs it."
_CREATE = "A push does not create the repository there: create it, or its project, first."
_CHECK_NAME = "Check the name{tag}. Some registries also answer so to those who may not see a repository."
_CREDENTIALS_WRONG = (
    "The user name or password for {registry} is wrong or has expired: correct it in the auth file, or log in "
    "again with `image-syncer login`."
)
_CREDENTIALS_WANTED = (
    "Without a user name and password {registry} does not allow this: add them to the auth file, or log in with "
    "`image-syncer login`."
)
_CREDENTIALS_OR_MISSING = (
    "Give a user name and password for {registry} in the auth file, or correct them. Some registries also "
    "answer so for a repository that does not exist."
)
_MAY_NOT = (
    "The credentials for {registry} do not allow to {action} {repository}, or the repository does not exist there."
)


def find_hint(
    status: int, body: ErrorBody, request: Request, *, origin: Origin, sign: Sign | None, elsewhere: bool
) -> str | None:
    """Return the hint for a failure; None where the message is enough.

    `sign` is the profile's, `elsewhere` is whether a signed address on another host answered.
    """
    sign_hint = None if sign is None else _filled(sign.hint, _registry(request), request.repository)
    if sign is not None and sign.meaning is Meaning.WAIT:
        return sign_hint
    if status == _PROXY_LOGIN:
        return _PROXY
    if any(words in body.text for words in _TLS_WANTED):
        return _TLS
    if sign is not None:
        return sign_hint
    if status == _PAYLOAD_TOO_LARGE:
        return _TOO_LARGE
    if elsewhere:
        return _STORAGE if status in (_UNAUTHORIZED, _FORBIDDEN) else None
    if status in (_UNAUTHORIZED, _FORBIDDEN) or "INVALID_GRANT" in body.codes:
        return _access_hint(status, body, request)
    if status in _SERVER_ERRORS:
        return _TROUBLE
    return _missing_hint(body, request, origin) if status == _NOT_FOUND else None


def denial_hint(profile: Profile, repository: Repository | None, scopes: tuple[Scope, ...]) -> str | None:
    """Return the likely reason, by the registry's profile, for granting less than `scopes`: a missing project, say."""
    if repository is None:
        return None
    wants_push = any("push" in scope.actions for scope in scopes)
    operation = Operation.START_UPLOAD if wants_push else Operation.GET_MANIFEST
    sign = find_sign(profile, _UNAUTHORIZED, ("UNAUTHORIZED", "INSUFFICIENT_SCOPE"), "", operation)
    return None if sign is None else _filled(sign.hint, repository.registry, repository)


def _access_hint(status: int, body: ErrorBody, request: Request) -> str:
    registry = _registry(request)
    if request.operation is Operation.GET_TOKEN:
        # An identity token is sent in a form, a password in a header.
        known = bool(request.body) or any(name == "Authorization" for name, _ in request.headers)
        return (_CREDENTIALS_WRONG if known else _CREDENTIALS_WANTED).format(registry=registry)
    if status == _FORBIDDEN or "INSUFFICIENT_SCOPE" in body.codes:
        action = "push to" if request.operation in WRITES else "pull from"
        repository = request.repository or registry
        return _MAY_NOT.format(registry=registry, action=action, repository=repository)
    return _CREDENTIALS_OR_MISSING.format(registry=registry)


def _missing_hint(body: ErrorBody, request: Request, origin: Origin) -> str | None:
    if body.is_markup:
        return NO_REGISTRY_HINT
    if request.operation is Operation.START_UPLOAD or (request.operation in WRITES and "NAME_UNKNOWN" in body.codes):
        return _CREATE
    if origin is not Origin.DESTINATION and request.operation in _MANIFEST_READS:
        return _CHECK_NAME.format(tag=" and the tag")
    return _CHECK_NAME.format(tag="") if request.operation is Operation.LIST_TAGS else None


def _registry(request: Request) -> str:
    if request.repository is not None:
        return request.repository.registry
    # Credentials are not kept under the host of a token service.
    origin = None if request.operation is Operation.GET_TOKEN else origin_of(request.url)
    return origin[1] if origin else "the registry"


def _filled(hint: str, registry: str, repository: Repository | None) -> str:
    project = repository.name.partition("/")[0] if repository is not None else registry
    return hint.format(registry=registry, repository=repository or registry, project=project)


_MAX_JSON_BYTES = 64 * 1024
_MAX_TEXT_BYTES = 8 * 1024
_MAX_LINE_CHARS = 240
_MAX_REDACTED_CHARS = 2048
_MAX_ERRORS = 3

_CODE = lazy_pattern(r"[A-Za-z0-9_.-]{1,64}")
_MARKUP = lazy_pattern(r"\s*<")
_TITLE = lazy_pattern(r"<(title|h1)[^<>]*>([^<>]+)<", re.IGNORECASE)
_XML_CODE = lazy_pattern(r"<Code>([^<>]+)<")
_XML_MESSAGE = lazy_pattern(r"<Message>([^<>]+)<")


class ErrorBody(Value, frozen=True):
    """The body of a failure: error codes in capitals, one line for people, the first 8 KiB in lower case."""

    codes: tuple[str, ...] = ()
    line: str = ""
    text: str = ""
    is_markup: bool = False


def parse_error_body(response: Response) -> ErrorBody:
    """Read the body of a failure: the registry's JSON, a proxy's HTML, a storage's XML, plain text or nothing.

    Secrets are removed from `line`, which ends after 240 characters.
    """
    text = response.body[:_MAX_TEXT_BYTES].decode("utf-8", "replace")
    lowered = text.lower()
    found = _from_json(response.body)
    if found is None:
        is_markup = _MARKUP.match(text) is not None
        line = _from_markup(text) if is_markup else _first_line(text)
        return ErrorBody((), _one_line(line, response.status), lowered, is_markup)
    codes, line = found
    return ErrorBody(codes, _one_line(line, response.status), lowered)


def _from_json(body: bytes) -> tuple[tuple[str, ...], str] | None:
    if len(body) > _MAX_JSON_BYTES:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    errors = value.get("errors")
    entries = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    if not entries:
        # Token services and gateways: {"code":…,"message":…}, {"error":…,"error_description":…}, {"details":…}
        nested = value.get("error")
        entries = [nested if isinstance(nested, dict) else value]
    pairs = [_code_and_message(each) for each in entries[:_MAX_ERRORS]]
    codes = tuple(dict.fromkeys(code for code, _ in pairs if code))
    return codes, "; ".join(": ".join(filter(None, pair)) for pair in pairs if any(pair))


def _code_and_message(entry: dict[str, object]) -> tuple[str, str]:
    code = _text(entry, "code", "error")
    message = _text(entry, "message", "error_description", "details", "msg", "error")
    if message == code and not _CODE.fullmatch(code):
        code = ""  # {"error": "a sentence"}
    code = code.upper() if _CODE.fullmatch(code) else ""
    if message.upper() == code:
        message = ""
    return code, " ".join(filter(None, (message, _detail(entry.get("detail"), message))))


def _detail(detail: object, message: str) -> str:
    """Return what `detail` adds for people: a sentence, or the digest of a missing blob."""
    if isinstance(detail, dict):
        detail = detail.get("digest") or detail.get("message")
    return f"({detail})" if isinstance(detail, str) and detail and detail not in message else ""


def _text(entry: dict[str, object], *keys: str) -> str:
    return next((value for key in keys if isinstance(value := entry.get(key), str) and value), "")


def _from_markup(text: str) -> str:
    code, message = _XML_CODE.search(text), _XML_MESSAGE.search(text)
    if code or message:
        return ": ".join(match[1] for match in (code, message) if match)
    title = _TITLE.search(text)
    return title[2] if title else ""


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")


def _one_line(text: str, status: int) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text[:_MAX_REDACTED_CHARS])
    line = " ".join(printable.split())
    if line.startswith(f"{status} "):  # "404 page not found": the message has the status
        line = line[len(str(status)) :].lstrip(" :–-")
    line = redact(line)  # before it is cut: half a secret is not recognised
    return line if len(line) <= _MAX_LINE_CHARS else f"{line[: _MAX_LINE_CHARS - 1]}…"


_FULL = "Free space on that file system, or raise the quota there, then run again: what has arrived is kept."
_DAMAGED = (
    "The layout names what it does not have, or what has other bytes than its digest says: look at the file of that "
    "name in blobs, or have the layout made again."
)


def is_at_place(request: Request) -> bool:
    """Return whether `request` goes to a layout or an archive, which a process of ours serves as a registry."""
    return request.repository is not None and is_place(request.repository.registry)


def tell_place_failure(request: Request, body: ErrorBody) -> str:
    """Return one line about a failure at a layout or an archive, of which users know files and no requests."""
    _, coded, said = body.line.partition(": ")
    said = said if coded and body.codes else body.line
    if _names_what_is_missing(request, body):
        kind = "blob" if "blob" in request.operation.value else "manifest"
        said = f"there is no {kind} {_digest_in(request)}"
    return f"{'cannot be read' if request.operation in READS else 'cannot be written'}: {said or 'no reason is known'}"


def find_place_hint(status: int, request: Request, body: ErrorBody) -> str | None:
    """Return the hint for a failure at a layout or an archive; None where the line is enough."""
    if status == _INSUFFICIENT_STORAGE:
        return _FULL
    return _DAMAGED if _names_what_is_missing(request, body) else None


def _names_what_is_missing(request: Request, body: ErrorBody) -> bool:
    """Return whether something that was read by its digest is missing."""
    is_missing = not {"BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}.isdisjoint(body.codes)
    return is_missing and request.operation in READS and _digest_in(request) != ""


def _digest_in(request: Request) -> str:
    """Return the digest that `request` asks for; "" for a name."""
    last = request.url.partition("?")[0].rpartition("/")[2]
    return last if ":" in last else ""


# The session has ended, or bytes were damaged on the way: a new session can succeed.
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
# For answers without a text: RFC 9110, section 15, nginx (499) and Cloudflare (52x).
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
    """Return whether a retry can succeed: after 429, timeouts, and temporary 5xx (RFC 9110, section 15.6)."""
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
    """Return the error of a failed answer to `request`, on the side `origin`, of a registry with this `profile`.

    `now_epoch_s` is only for a `Retry-After` that is a date in an answer without `Date`.
    """
    body = parse_error_body(response)
    status = response.status
    elsewhere = _is_elsewhere(request, response)
    sign = None
    if status >= _CLIENT_ERRORS.start:
        # Its storage is no registry, and has no signs of one.
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
        **request.error_fields(origin),
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
        # The signature has expired: the registry hands out a new one.
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
    """Return the registry's codes, and those that follow from the rest of the answer."""
    codes = body.codes
    if response.status == _UNAUTHORIZED:
        challenges = parse_challenges(response.headers.get_all("WWW-Authenticate"))
        if "insufficient_scope" in {each.params.get("error") for each in challenges}:  # RFC 6750, section 3.1
            codes = (*codes, "INSUFFICIENT_SCOPE")
    if limited:
        return codes or ("TOOMANYREQUESTS",)
    return codes or (("DENIED",) if response.status == _FORBIDDEN else ())


def _is_elsewhere(request: Request, response: Response) -> bool:
    """Return whether a signed address on another host answered: after a redirect, or of an upload.

    An answer with a challenge is a registry's.
    """
    if request.operation not in _SIGNED_OPERATIONS or "WWW-Authenticate" in response.headers:
        return False
    return not request.scopes or (response.url != "" and not same_origin(request.url, response.url))


def _request_ids(response: Response) -> dict[str, str]:
    """Return the IDs of the request in the logs of the registry and of its proxies."""
    found = ((name, response.headers.get(name)) for name in _REQUEST_IDS)
    return {name: value[:_MOST_ID_CHARS] for name, value in found if value}


def _subject(request: Request) -> dict[str, str]:
    """Return the manifest or blob of a request, from an address that was built here."""
    name = request.repository.name if request.repository else ""
    if request.operation in _MANIFEST_OPERATIONS:
        field, prefix = "reference", f"/v2/{name}/manifests/"
    elif request.operation in _BLOB_OPERATIONS:
        field, prefix = "digest", f"/v2/{name}/blobs/"
    else:
        return {}
    _, built, subject = without_query(request.url).rpartition(prefix)
    return {field: subject} if built else {}
