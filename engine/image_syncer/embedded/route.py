"""Routes: the kind of a request, its repository and its reference, from its method and path alone.

OCI distribution specification 1.1, "Endpoints". Repository names contain slashes, so a path is parsed from its end.
"""

from __future__ import annotations

from typing import TypeAlias

from image_syncer.patterns import lazy_pattern
from image_syncer.registry import Operation
from image_syncer.values import TextEnum, Value

_REPOSITORY = lazy_pattern(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_NAME_LIMIT = 255  # characters, as in distribution; the specification asks clients to stay below it


TOKEN_PATH = "/token"  # noqa: S105 - a path
"""The default path of the token service."""


class ExtraOperation(TextEnum):
    """Kinds of requests beyond `Operation`, which the engine seldom or never makes."""

    PATCH_UPLOAD = "patch upload"
    DELETE_MANIFEST = "delete manifest"
    DELETE_BLOB = "delete blob"
    LIST_REFERRERS = "list referrers"
    GET_REDIRECTED_BLOB = "get redirected blob"
    OWN_API = "own API"
    OTHER = "other"


RequestKind: TypeAlias = "Operation | ExtraOperation"
"""The kind of a request in the counters."""


class Route(Value, frozen=True):
    """The parsed path; `reference` is a tag, a digest or the id of an upload session."""

    kind: RequestKind
    repository: str = ""
    reference: str = ""


_BY_METHOD: dict[tuple[str, str], RequestKind] = {
    ("manifests", "HEAD"): Operation.HEAD_MANIFEST,
    ("manifests", "GET"): Operation.GET_MANIFEST,
    ("manifests", "PUT"): Operation.PUT_MANIFEST,
    ("manifests", "DELETE"): ExtraOperation.DELETE_MANIFEST,
    ("blobs", "HEAD"): Operation.HEAD_BLOB,
    ("blobs", "GET"): Operation.GET_BLOB,
    ("blobs", "DELETE"): ExtraOperation.DELETE_BLOB,
    ("uploads", "POST"): Operation.START_UPLOAD,
    ("session", "PUT"): Operation.PUT_UPLOAD,
    ("session", "PATCH"): ExtraOperation.PATCH_UPLOAD,
    ("session", "GET"): Operation.GET_UPLOAD,
    ("session", "DELETE"): Operation.CANCEL_UPLOAD,
    ("tags", "GET"): Operation.LIST_TAGS,
    ("referrers", "GET"): ExtraOperation.LIST_REFERRERS,
    ("ping", "GET"): Operation.PING,
    ("ping", "HEAD"): Operation.PING,
    ("catalog", "GET"): Operation.LIST_CATALOG,
    ("storage", "GET"): ExtraOperation.GET_REDIRECTED_BLOB,
    ("token", "GET"): Operation.GET_TOKEN,
    ("token", "POST"): Operation.GET_TOKEN,
}
_ENDINGS = {"/blobs/uploads": "session", "/blobs": "blobs", "/manifests": "manifests", "/referrers": "referrers"}
_PLAIN = {"/v2/": "ping", "/v2": "ping", "/v2/_catalog": "catalog"}


def is_repository_name(name: str) -> bool:
    """Return whether `name` matches the grammar of the specification ("Pulling manifests", `<name>`)."""
    return len(name) <= _NAME_LIMIT and _REPOSITORY.fullmatch(name) is not None


def parse_route(method: str, path: str, token_path: str = TOKEN_PATH, upload_prefix: str = "") -> Route:
    """Return the route of `method` and `path` (decoded, without query); an unknown pair has the kind "other".

    Upload sessions are below `upload_prefix`, if it is not empty.
    """
    if path == token_path:
        noun, repository, reference = "token", "", ""
    elif upload_prefix and path.startswith(upload_prefix + "/"):
        head, _, reference = path[len(upload_prefix) + 1 :].rpartition("/")
        noun, repository = "session", head.removesuffix("/uploads")
    else:
        noun, repository, reference = _parse_path(path)
    kind = _BY_METHOD.get((noun, method), ExtraOperation.OTHER)
    return Route(kind, repository, reference)


def _parse_path(path: str) -> tuple[str, str, str]:
    if path in _PLAIN:
        return _PLAIN[path], "", ""
    if path.startswith("/storage/"):
        repository, _, reference = path[len("/storage/") :].rpartition("/")
        return "storage", repository, reference
    if not path.startswith("/v2/"):
        return "", "", ""
    rest = path[len("/v2/") :]
    if rest.endswith("/tags/list"):
        return "tags", rest[: -len("/tags/list")], ""
    if rest.endswith(("/blobs/uploads/", "/blobs/uploads")):
        return "uploads", rest.rstrip("/")[: -len("/blobs/uploads")], ""
    head, _, reference = rest.rpartition("/")
    for ending, noun in _ENDINGS.items():
        if head.endswith(ending) and reference:
            return noun, head[: -len(ending)], reference
    return "", "", ""
