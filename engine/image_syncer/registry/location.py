"""URLs from a registry: `Location` of uploads and redirects, `Link` of pages, resolved against the request's URL.

They are opaque: signatures and upload states are in their paths and queries, so every byte is kept: they are joined as
text, never parsed and composed again. Their hosts are checked before anything is sent to them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.patterns import lazy_pattern

MAX_LOCATION_CHARS = 16 * 1024
"""Longer addresses are refused: signed ones of S3, Azure and Google have up to 4 KiB, upload states up to 2 KiB."""
_HOST = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?)"
_AUTHORITY = rf"(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?"
_ABSOLUTE = re.compile(rf"(?P<scheme>https?)://{_AUTHORITY}(?=[/?#]|\Z)", re.IGNORECASE)
_WITH_SCHEME = lazy_pattern(r"[A-Za-z][A-Za-z0-9+.-]*://")
# "registry.example:5000/v2/…": a host because of its dot, its port or its name, as in a reference.
_BARE_HOST = lazy_pattern(
    r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:)|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/"
)
_UNSAFE = lazy_pattern(r"[^!-~]")
_PLAIN = re.compile(rf"[!-~]{{1,{MAX_LOCATION_CHARS}}}")
_CONTROL = lazy_pattern(r"[\x00-\x1f\x7f]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
_SHOWN_CHARS = 200


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an HTTP URL (RFC 6454, section 4), None for others or with a user name."""
    match = _ABSOLUTE.match(url)
    if match is None:
        return None
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    return (scheme, match["host"].lower(), port) if 0 < port <= _MAX_PORT else None


@lru_cache(maxsize=256)
def is_origin(url: str) -> bool:
    """Return whether `url` has only scheme, host and port, as a registry's base address, and no slash at its end."""
    match = _ABSOLUTE.match(url)
    return match is not None and match.end() == len(url) and origin_of(url) is not None


def may_carry_credentials(from_url: str, to_url: str) -> bool:
    """Return whether credentials for `from_url` may be sent to `to_url`: only with the same scheme, host and port.

    Signed storage answers 400 to a second kind of authorization, and another host must not learn a token.
    """
    # Nearly every URL is below its registry's address, which is then compared as text.
    if to_url.startswith(from_url) and to_url[len(from_url) : len(from_url) + 1] == "/" and is_origin(from_url):
        return True
    return same_origin(from_url, to_url)


def same_origin(one: str, other: str) -> bool:
    """Return whether both URLs have the same scheme, host and port, where the default port may be omitted."""
    origin = origin_of(one)
    return origin is not None and origin == origin_of(other)


def without_query(url: str) -> str:
    """Return `url` without its query, which may be signed, for messages."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


def append_query(url: str, query: str) -> str:
    """Append `query` to the query of `url`, which stays byte for byte; a fragment, which is never sent, is dropped."""
    url = url.partition("#")[0]
    if "?" not in url:
        return f"{url}?{query}"
    return f"{url}{query}" if url.endswith(("?", "&")) else f"{url}&{query}"


def resolve_location(request_url: str, location: str, *, origin: Origin = Origin.LOCAL) -> str:
    """Return the absolute URL of `location` in the answer to `request_url` (RFC 9110, section 10.2.2; RFC 3986, 5).

    Accepted: absolute, `//host/…`, `host/…` without a scheme, `/path`, `?query`, relative path. The query is kept byte
    for byte; bytes that no URL may contain (spaces, UTF-8) are percent-encoded. Raises `ProtocolViolation` for another
    scheme than HTTP, for user names, for unusable hosts, and for addresses that are too long.
    """
    text = location.strip(" \t")
    plausible = 0 < len(text) <= MAX_LOCATION_CHARS and _CONTROL.search(text) is None
    url = _join(request_url, text) if plausible else None
    if url is None or origin_of(url) is None:
        # An address that cannot be joined is not shown: it may begin with a user name and a password.
        shown = f": {without_query(url)[:_SHOWN_CHARS]!r}" if url else ""
        raise ProtocolViolation(
            f"the registry answered with an address that cannot be used{shown}",
            origin=origin,
            request=without_query(request_url),
        )
    return _UNSAFE.sub(_percent_encode, url)


def resolve_own_location(request_url: str, location: str, *, origin: Origin = Origin.LOCAL) -> str:
    """Resolve an address of the registry's own, of an upload or a next page, as `resolve_location` does.

    A registry behind a proxy that ends TLS often writes plain HTTP in its addresses: where only the scheme (and with it
    the port) differs, the request's counts. Raises `ProtocolViolation` also for an address that leaves TLS for another
    host, since the user's data is sent there.
    """
    here_match = _ABSOLUTE.match(request_url)
    # Nearly every answer names a path or a URL below the registry's address, and needs no more than this.
    if here_match is not None and _PLAIN.fullmatch(location) is not None and is_origin(here_match[0]):
        base = here_match[0]
        if location.startswith("/") and not location.startswith("//"):
            return base + location
        if location.startswith(base + "/"):
            return location
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
    """Merge a relative path (RFC 3986, sections 5.2.3 and 5.2.4)."""
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
    # A character of a header is one byte (ISO-8859-1); others come from programs that decoded it otherwise.
    data = char.encode("latin-1") if char <= "\xff" else char.encode("utf-8", "replace")
    return "".join(f"%{byte:02X}" for byte in data)


def _authority_part(url: str) -> str:
    match = _ABSOLUTE.match(url)
    return match[0] if match else ""
