"""Requests to a registry and its answers as plain data, their scopes, and what headers say of content and pages.

The transport adds `Authorization`, `User-Agent` and `Host`; a request has everything else.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, overload
from urllib.parse import quote

from image_syncer.errors import IntegrityError, Origin, ProtocolViolation
from image_syncer.oci import Digest
from image_syncer.patterns import lazy_pattern
from image_syncer.registry.location import MAX_LOCATION_CHARS, resolve_own_location, same_origin, without_query
from image_syncer.values import TextEnum, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.oci import Repository


MAX_PAGE_SIZE = 1000
"""ECR refuses a larger `n`, distribution a larger one for the catalog; others reduce it."""
_CACHED_SCOPES = 1024
"""Scopes that are made once: each request has one."""
_NUMBER = lazy_pattern(r"[0-9]{1,18}")
# "<<url>>" is how the specification writes its example, and how some servers took it.
_LINK = lazy_pattern(r"<{1,2}([^<>]*)>{1,2}([^<]*)")
_REL = lazy_pattern(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,]+))", re.IGNORECASE)


def content_digest(headers: Headers) -> Digest | None:
    """Return the digest of `Docker-Content-Digest`, None where it is missing or not a digest."""
    text = headers.get("Docker-Content-Digest")
    if not text:
        return None
    try:
        return Digest(text.strip())
    except ValueError:
        return None


def check_stored(response: Response, expected: Digest, operation: Operation, noun: str, **places: Any) -> None:
    """Raise `IntegrityError`, with these `places`, where the destination stored the bytes under another digest.

    A digest of another algorithm than that of `expected` says nothing.
    """
    stored = content_digest(response.headers)
    if stored is not None and stored.algorithm == expected.algorithm and stored != expected:
        raise IntegrityError(
            f"the destination stored the {noun} under another digest",
            origin=Origin.DESTINATION,
            operation=operation.value,
            expected=expected,
            actual=stored,
            retryable=True,
            **places,
        )


def content_length(headers: Headers) -> int | None:
    """Return the size of the body by `Content-Length` (RFC 9110, section 8.6), None without a number."""
    match = _NUMBER.fullmatch(headers.get("Content-Length", "").strip())
    return int(match[0]) if match else None


def is_page(response: Response) -> bool:
    """Return whether the answer is a web page, as a login or a proxy sends with 200, and no registry does."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return media_type == "text/html" or response.body.lstrip()[:1] == b"<"


class Scope(Value, frozen=True):
    """Some actions on one resource: for a repository its name without the registry, and "pull" or "push"."""

    name: str
    actions: tuple[str, ...]
    resource: str = "repository"

    def __str__(self) -> str:
        return f"{self.resource}:{self.name}:{','.join(self.actions)}"


CATALOG_SCOPE = Scope("catalog", ("*",), "registry")


@lru_cache(maxsize=_CACHED_SCOPES)
def pull_scope(repository: Repository) -> Scope:
    """Return the scope to read `repository`."""
    return Scope(repository.name, ("pull",))


@lru_cache(maxsize=_CACHED_SCOPES)
def push_scope(repository: Repository) -> Scope:
    """Return the scope to write and read `repository`; "push" is first, because some servers read one action only."""
    return Scope(repository.name, ("push", "pull"))


def say_whose(request: Request, registry: str) -> Request:
    """Return `request`, to a mirror, with the registry whose content it is for.

    A proxy of several registries chooses by it (`?ns=docker.io`, as containerd since 1.4); others ignore it.
    """
    separator = "&" if "?" in request.url else "?"
    return request._replace(url=f"{request.url}{separator}ns={quote(registry, safe=':')}")


class Operation(TextEnum):
    """The kinds of requests; the values are the words of reports, counters and errors."""

    HEAD_MANIFEST = "head manifest"
    GET_MANIFEST = "get manifest"
    PUT_MANIFEST = "put manifest"
    HEAD_BLOB = "head blob"
    GET_BLOB = "get blob"
    START_UPLOAD = "start upload"
    PATCH_UPLOAD = "patch upload"
    PUT_UPLOAD = "put upload"
    GET_UPLOAD = "get upload"
    CANCEL_UPLOAD = "cancel upload"
    DELETE_MANIFEST = "delete manifest"
    DELETE_BLOB = "delete blob"
    LIST_TAGS = "list tags"
    LIST_CATALOG = "list catalog"
    LIST_REFERRERS = "list referrers"
    GET_TOKEN = "get token"  # noqa: S105 - the name of an operation, no secret
    PING = "ping"
    FIND_PROJECT = "find project"
    CREATE_PROJECT = "create project"


class Headers:
    """Header fields of an answer: any case, any number of values for a name (RFC 9110, section 5.1).

    Values are text in ISO-8859-1 (section 5.5), so that a character is a byte of the wire. The lines of a head are
    parsed only when a field is read.
    """

    __slots__ = ("_first", "text")

    def __init__(self, fields: Iterable[tuple[str, str]] = (), *, text: str = "") -> None:
        self.text = text or "\n".join(f"{name}:{value}" for name, value in fields)
        """The lines of the head, as they came; those without a colon are no fields."""
        self._first: dict[str, str] | None = None

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...
    @overload
    def get(self, name: str, default: str) -> str: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of the field `name`, or `default`."""
        first = self._first
        if first is None:
            first = self._first = {}
            for line in self.text.split("\n"):  # splitlines() also splits at characters that are bytes of a value
                given, colon, value = line.partition(":")
                if colon:
                    first.setdefault(given.strip().lower(), value.strip())
        return first.get(name.lower(), default)

    def get_all(self, name: str) -> list[str]:
        """Return every value of the field `name` in the order of the answer."""
        wanted = name.lower()
        return [value for given, value in self.items() if given.lower() == wanted]

    def items(self) -> list[tuple[str, str]]:
        """Return every field as it came, in order."""
        parts = [line.partition(":") for line in self.text.split("\n")]
        return [(name.strip(), value.strip()) for name, colon, value in parts if colon]

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __repr__(self) -> str:
        # Names only: values hold cookies, signed addresses and tokens.
        return f"Headers({', '.join(dict.fromkeys(name.lower() for name, _ in self.items()))})"


class Request(NamedTuple):
    """One request to a registry or its token service.

    `body` is sent as it is, with its length; an empty one as `Content-Length: 0`. Where `body` is None and the headers
    have a `Content-Length`, the bytes come from the upload's stream. `scopes` are those of the token; without any, the
    host needs none. It is a named tuple because each request makes one: a frozen dataclass costs three times as much.
    """

    operation: Operation
    method: str
    url: str
    repository: Repository | None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    scopes: tuple[Scope, ...] = ()

    @property
    def line(self) -> str:
        """Method and URL without its query, which may be signed: "GET https://host/v2/x/tags/list"."""
        return f"{self.method} {without_query(self.url)}"

    def error_fields(self, origin: Origin) -> dict[str, Any]:
        """Return the fields of an error about this request, on the side `origin`."""
        repository = str(self.repository) if self.repository else None
        return {"origin": origin, "operation": self.operation.value, "repository": repository, "request": self.line}

    def __repr__(self) -> str:
        # Headers and body of a token request are the password.
        return f"Request({self.operation}: {self.line})"


class Response(NamedTuple):
    """One answer: `url` is the address that answered, after redirects; `body` has the bytes as they came."""

    status: int
    headers: Headers
    body: bytes
    url: str

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes, {without_query(self.url)})"


def page_query(page_size: int) -> str:
    """Return the query for pages of `page_size` entries; 0 leaves the size to the registry."""
    return f"?n={min(page_size, MAX_PAGE_SIZE)}" if page_size > 0 else ""


def next_page_url(response: Response, request_url: str) -> str | None:
    """Return the URL of the next page, None after the last.

    Behind proxies that rewrite paths, registries link to their inner ones, so the path of `request_url` stays where the
    link has a query. Raises `ProtocolViolation` for a link to another host, which must not get credentials.
    """
    target = _next_link(response)
    if target is None:
        return None
    url = resolve_own_location(request_url, target, origin=Origin.SOURCE)
    if not same_origin(request_url, url):
        raise ProtocolViolation(
            f"the next page of a list is said to be on another host: {without_query(url)}",
            origin=Origin.SOURCE,
            request=f"GET {without_query(request_url)}",
            status=response.status,
        )
    query = url.partition("#")[0].partition("?")[2]
    return f"{without_query(request_url)}?{query}" if query else url


def _next_link(response: Response) -> str | None:
    for value in response.headers.get_all("Link"):
        for target, params in _LINK.findall(value[:MAX_LOCATION_CHARS]):
            relations = [quoted or bare for quoted, bare in _REL.findall(params)]
            if target and (not relations or "next" in relations[0].lower().split()):
                return str(target)
    return None
