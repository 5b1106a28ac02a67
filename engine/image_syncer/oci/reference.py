"""References: repositories and manifests as users write them, completed as Docker does ("nginx"), and layouts.

Names and tags are those of OCI distribution specification 1.1, "Pulling manifests". `oci:DIR[:NAME]`,
`oci-archive:FILE[:NAME]` and `docker-archive:FILE[:NAME]` are skopeo's
(https://github.com/containers/image/blob/main/docs/containers-transports.5.md): the path has no colon, and NAME is a
tag or `repository:tag`. Such a place is the registry of its references (`oci:/data/mirror`); images that are named by a
tag alone are in the repository with the empty name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from image_syncer.oci.digest import Digest
from image_syncer.patterns import lazy_pattern
from image_syncer.redaction import quoted
from image_syncer.values import Value

DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOSTS = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?")
_LAST_PORT = 65535
_OWN_PORTS = (":443", ":80")
_MAX_NAME = 255
_MAX_HOST = 255 + len(":65535")
_PREFIX = re.compile(r"(?P<kind>oci|oci-archive|docker-archive):|(?P<bundle>bundle):(?=/)")
"""The kinds of places. A bundle has an absolute path, and is not written by users."""
_DIGEST = lazy_pattern(r"@(?P<digest>(?:sha256|sha512):[0-9A-Fa-f]*)\Z")
_PLACE_NAME = lazy_pattern(rf"(?:[A-Za-z0-9.-]{{1,253}}:[0-9]{{1,5}}/)?{_NAME.pattern}")
_CACHED_TEXTS = 1024
"""Cached results of `is_place`, which is called many times for each blob."""


class InvalidReference(ValueError):  # noqa: N818 - the field's word, and what the caller asks about
    """A text that is no reference; the message is a sentence for people."""


class Repository(Value, frozen=True, order=True):
    """A repository: the registry's host with its port, if any, or a layout ("oci:/data/mirror"), and the name."""

    registry: str
    name: str

    def __str__(self) -> str:
        if not is_place(self.registry):
            return f"{self.registry}/{self.name}"
        # Without the colon at the end, a name without a slash would be read as a tag.
        colon = ":" if self.name and "/" not in self.name else ""
        return f"{self.registry}:{self.name}{colon}" if self.name else self.registry


class Reference(Value, frozen=True):
    """A manifest in a repository, by tag, by digest or by both; with neither, the repository alone."""

    repository: Repository
    tag: str | None
    digest: Digest | None

    @property
    def target(self) -> str:
        """The manifest in requests: its digest, or else its tag. Raises RuntimeError without both."""
        target = self.digest or self.tag
        if target is None:
            raise RuntimeError(f"the reference {self} names neither a tag nor a digest")
        return target

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        start = str(self.repository)
        return f"{start.removesuffix(':') if tag else start}{tag}{digest}"


def is_tag(text: str) -> bool:
    """Return whether `text` is a tag: up to 128 of A-Z, a-z, 0-9, "_", "." and "-", not beginning with "." or "-"."""
    return _TAG.fullmatch(text) is not None


def canonical_registry(host: str) -> str:
    """Return the canonical name of a registry's host: lower case, IPv6 compressed, Docker Hub always "docker.io".

    Raises InvalidReference.
    """
    match = _HOST.fullmatch(host) if len(host) <= _MAX_HOST else None
    if not match or not _is_port(match["port"]):
        raise InvalidReference(f"{quoted(host)} is not a registry's host: write for example quay.io or localhost:5000")
    name = match["host"].lower()
    if match["ipv6"]:
        try:
            name = f"[{IPv6Address(match['ipv6']).compressed}]"
        except AddressValueError:
            raise InvalidReference(f"{quoted(host)} is not a registry's host: that is no IPv6 address") from None
    registry = f"{name}:{int(match['port'])}" if match["port"] else name
    return DOCKER_HUB if registry in _DOCKER_HUB_HOSTS else registry


def registry_names(registry: str) -> tuple[str, ...]:
    """Return the names of a registry, this one first: with the default port of HTTPS or HTTP, and without it.

    >>> registry_names("quay.io")
    ('quay.io', 'quay.io:443', 'quay.io:80')
    """
    if is_place(registry):
        return (registry,)
    bare = registry
    for port in _OWN_PORTS:
        bare = bare.removesuffix(port)
    if _HOST.fullmatch(bare) is None or bare.rpartition("]")[2].count(":"):
        return (registry,)
    bare = canonical_registry(bare)
    return tuple(dict.fromkeys((registry, bare, *(f"{bare}{port}" for port in _OWN_PORTS))))


def repository_at(registry: str, name: str) -> Repository:
    """Return the repository `name` of a registry or a place. Raises InvalidReference."""
    if not is_place(registry):
        return parse_repository(f"{registry}/{name}")
    if name and not is_place_name(name):
        raise InvalidReference(f"{quoted(name)} is not the name of a repository: write lower-case letters and digits")
    return Repository(registry, name)


def parse_repository(text: str) -> Repository:
    """Parse "nginx", "quay.io/org/app" or "[::1]:5000/app", completed as Docker does. Raises InvalidReference."""
    reference = parse_reference(text)
    if reference.tag is not None or reference.digest is not None:
        raise InvalidReference(
            f"{quoted(text)} names a manifest where a repository is wanted: leave out the tag and the digest"
        )
    return reference.repository


def parse_reference(text: str) -> Reference:
    """Parse "app", "app:tag", "app@digest" or "app:tag@digest"; no tag is added. Raises InvalidReference."""
    place = split_place(text)
    if place is not None:
        return _parse_at_place(place, text)
    if "://" in text:
        raise InvalidReference(f"{quoted(text)} is a URL: write the name without the part up to ://")
    named, at, digest_text = text.strip().partition("@")
    if "/" in digest_text:  # Not quoted: the text before the @ may be a password.
        raise InvalidReference("a name holds no user name and no password: write those in the auth file")
    head, slash, last = named.rpartition("/")
    name, colon, tag = last.partition(":")
    if colon and not is_tag(tag):
        raise InvalidReference(
            f"{quoted(text)} has no usable tag: write up to 128 letters, digits, '_', '.' and '-' after the "
            "colon, not beginning with '.' or '-'"
        )
    repository = _complete(f"{head}{slash}{name}", text)
    try:
        digest = Digest(digest_text) if at else None
    except ValueError as error:
        raise InvalidReference(f"{quoted(text)} has no usable digest: {error}") from None
    return Reference(repository, tag if colon else None, digest)


def _parse_at_place(place: PlaceText, text: str) -> Reference:
    if not place.path:
        raise InvalidReference(f"{quoted(text)} has no path: write {place.kind}:PATH, or {place.kind}:PATH:NAME")
    if not place.path.isprintable():
        raise InvalidReference(f"{quoted(text)} has a path that cannot be shown: rename the file")
    head, slash, last = place.rest.rpartition("/")
    name, colon, tag = last.partition(":")
    if not slash and not colon:
        name, tag = "", place.rest
    name = f"{head}{slash}{name}"
    if tag and not is_tag(tag):
        raise InvalidReference(
            f"{quoted(text)} names no image: after the second colon write a tag, or repository:tag, with letters, "
            "digits, '_', '.' and '-'"
        )
    try:
        digest = Digest(place.digest) if place.digest is not None else None
    except ValueError as error:
        raise InvalidReference(f"{quoted(text)} has no usable digest: {error}") from None
    return Reference(repository_at(place.registry, name), tag or None, digest)


def _complete(path: str, text: str) -> Repository:
    first, slash, rest = path.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        registry, name = canonical_registry(first), rest
    else:
        registry, name = DOCKER_HUB, path
    if registry == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    if len(name) > _MAX_NAME:
        raise InvalidReference(
            f"{quoted(text)} is too long: the name of a repository has at most {_MAX_NAME} characters"
        )
    if not _NAME.fullmatch(name):
        raise InvalidReference(
            f"{quoted(text)} does not name a repository: write lower-case letters and digits, separated by "
            "single '.', '_', '-' or '/', such as quay.io/org/app"
        )
    return Repository(registry, name)


def _is_port(text: str | None) -> bool:
    return text is None or 0 < int(text) <= _LAST_PORT


class PlaceText(Value, frozen=True):
    """The parts of a text: the place as a registry (`oci:/data/mirror`), and the `rest` after the second colon, or "".

    `digest` follows an @, and is not checked yet.
    """

    registry: str
    kind: str
    path: str
    rest: str
    digest: str | None


@lru_cache(_CACHED_TEXTS)
def is_place(text: str) -> bool:
    """Return whether `text`, a reference or its registry, begins with the kind of a place."""
    return _PREFIX.match(text) is not None


def is_place_name(name: str) -> bool:
    """Return whether `name` is valid at a place: as in references, or after a host and port, which archives keep."""
    return len(name) <= _MAX_NAME and _PLACE_NAME.fullmatch(name) is not None


def split_place(text: str) -> PlaceText | None:
    """Return the parts of a text that names a place, with a path of "" for none; None for other texts."""
    match = _PREFIX.match(text)
    if match is None:
        return None
    kind = match["kind"] or match["bundle"]
    found = _DIGEST.search(text, match.end())
    path, _, rest = text[match.end() : found.start() if found else len(text)].partition(":")
    path = _tidy(path)
    return PlaceText(f"{kind}:{path}", kind, path, rest, found["digest"] if found else None)


def _tidy(path: str) -> str:
    """Return the canonical path without the file system: "a//./b/" is "a/b"; ".." depends on links, and stays."""
    steps = [step for step in path.split("/") if step not in ("", ".")]
    tidy = "/".join(steps)
    if path.startswith("/"):
        return f"/{tidy}"
    return tidy or ("." if path else "")
