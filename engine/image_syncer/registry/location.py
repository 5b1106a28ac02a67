"""Addresses that a registry hands out: `Location` of uploads and redirects, `Link` of pages.

They are opaque: every byte of path and query counts, because signatures and upload states live there. So they
are joined as text and never parsed and put together again. Hosts come from the other side and are checked
before anything is sent to them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from image_syncer.errors import Origin, ProtocolViolation

__all__ = [
    "MAX_LOCATION_CHARS",
    "append_query",
    "is_origin",
    "origin_of",
    "resolve_location",
    "resolve_own_location",
    "same_origin",
    "without_query",
]

MAX_LOCATION_CHARS = 16 * 1024
"""Longer addresses are refused: the signed ones of S3, Azure and Google stay under 4 KiB, upload states under
2 KiB.
"""

_HOST = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?)"
_AUTHORITY = rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?"
_ABSOLUTE = re.compile(rf"(?P<scheme>https?)://{_AUTHORITY}(?=[/?#]|\Z)", re.IGNORECASE)
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# "registry.example:5000/v2/…": a host because of its dot, its port or its name, as in a reference.
_BARE_HOST = re.compile(
    r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:)|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/"
)
_UNSAFE = re.compile(r"[^!-~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
_SHOWN_CHARS = 200


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an absolute HTTP URL (RFC 6454, section 4), None for anything else, user names
    included.
    """
    match = _ABSOLUTE.match(url)
    if match is None:
        return None
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    return (scheme, match["host"].lower(), port) if 0 < port <= _MAX_PORT else None


@lru_cache(maxsize=256)
def is_origin(url: str) -> bool:
    """Whether `url` is scheme, host and port alone, as the base address of a registry is; no slash at its end."""
    match = _ABSOLUTE.match(url)
    return match is not None and match.end() == len(url) and origin_of(url) is not None


def same_origin(one: str, other: str) -> bool:
    """Whether both URLs have one scheme, host and port; the default port may be written or not."""
    origin = origin_of(one)
    return origin is not None and origin == origin_of(other)


def without_query(url: str) -> str:
    """`url` up to its query, for messages: what follows may be signed."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


def append_query(url: str, query: str) -> str:
    """`url` with `query` at the end of its query, every byte before it kept; a fragment, which is never sent,
    is dropped.
    """
    url = url.partition("#")[0]
    if "?" not in url:
        return f"{url}?{query}"
    return f"{url}{query}" if url.endswith(("?", "&")) else f"{url}&{query}"


def resolve_location(request_url: str, location: str, *, origin: Origin = Origin.LOCAL) -> str:
    """The absolute address that `location` means in the answer to `request_url` (RFC 9110, section 10.2.2;
    RFC 3986, section 5).

    Accepted: absolute, `//host/…`, `host/…` without a scheme, `/path`, `?query`, relative path. The query is
    kept byte for byte; bytes that no URL may hold (spaces, UTF-8) are percent-encoded. Raises
    `ProtocolViolation` for another scheme than HTTP, for user names in the address, for hosts that are none,
    and for addresses that are too long.
    """
    text = location.strip(" \t")
    url = _join(request_url, text) if _plausible(text) else None
    if url is None or origin_of(url) is None:
        # What could not be joined is not shown: it may begin with a user name and a password.
        shown = f": {without_query(url)[:_SHOWN_CHARS]!r}" if url else ""
        raise ProtocolViolation(
            f"the registry answered with an address that cannot be used{shown}",
            origin=origin,
            request=without_query(request_url),
        )
    return _UNSAFE.sub(_percent_encode, url)


def resolve_own_location(request_url: str, location: str, *, origin: Origin = Origin.LOCAL) -> str:
    """`resolve_location` for an address that is the registry's own: of an upload, of a next page.

    A registry behind a proxy that ends TLS often believes that it speaks plain HTTP and says so in its
    addresses. Where only the scheme (and with it the port) differs from the request's, the request's is
    right. Raises `ProtocolViolation` as `resolve_location` does, and where it would leave TLS for another host: what
    is sent there is the user's.
    """
    url = resolve_location(request_url, location, origin=origin)
    here, there = origin_of(request_url), origin_of(url)
    if here is None or there is None or (here[0], there[0]) != ("https", "http"):
        return url
    if here[1] != there[1]:
        raise ProtocolViolation(
            f"the registry speaks HTTPS and sends us on to plain HTTP on another host: {without_query(url)}",
            origin=origin,
            request=without_query(request_url),
        )
    if there[2] not in (here[2], _DEFAULT_PORTS["http"], _DEFAULT_PORTS["https"]):
        return url
    return _authority_part(request_url) + url[len(_authority_part(url)) :]


def _plausible(text: str) -> bool:
    return 0 < len(text) <= MAX_LOCATION_CHARS and _CONTROL.search(text) is None


def _join(request_url: str, text: str) -> str | None:
    here = _ABSOLUTE.match(request_url)
    if here is None:
        raise RuntimeError("a location can only be resolved against the absolute URL of a request")
    if _WITH_SCHEME.match(text):
        return text
    if text.startswith("//"):
        return f"{here['scheme']}:{text}"
    if _BARE_HOST.match(text):
        return f"{here['scheme']}://{text}"
    if text.startswith("/"):
        return here[0] + text
    base = without_query(request_url)
    if text[0] in "?#":
        return base + text
    path = without_query(text)
    if ":" in path.partition("/")[0]:  # RFC 3986, section 4.2: that would be a scheme
        return None
    return here[0] + _merge(base[here.end() :], path) + text[len(path) :]


def _merge(base_path: str, path: str) -> str:
    """RFC 3986, sections 5.2.3 and 5.2.4, for a path that does not begin with a slash."""
    steps = [*base_path.split("/")[1:-1], *path.split("/")]
    kept: list[str] = []
    for step in steps:
        if step == "..":
            del kept[-1:]
        elif step != ".":
            kept.append(step)
    if steps[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _percent_encode(match: re.Match[str]) -> str:
    char = match[0]
    # A header's character is one byte (ISO-8859-1); others come from shells that decoded it otherwise.
    data = char.encode("latin-1") if char <= "\xff" else char.encode("utf-8", "replace")
    return "".join(f"%{byte:02X}" for byte in data)


def _authority_part(url: str) -> str:
    match = _ABSOLUTE.match(url)
    return match[0] if match else ""
