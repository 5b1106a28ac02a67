"""Lists of tags (OCI distribution specification 1.1, "Listing tags", end-8) and of repositories (`/v2/_catalog`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import Repository, is_tag
from image_syncer.registry.location import without_query
from image_syncer.registry.message import CATALOG_SCOPE, Operation, Request, Response, Scope, next_page_url, page_query
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.registry.endpoint import Endpoint


class NamePage(Value, frozen=True):
    """One page of tags or repositories (without the registry's name), and the URL of the next, None after the last."""

    names: tuple[str, ...]
    next_url: str | None


def build_list_tags(
    endpoint: Endpoint, repository: Repository, *, page_size: int, next_url: str | None = None
) -> Request:
    """Ask for the first `page_size` tags (at most 1000; 0 leaves it to the registry), or the page at `next_url`."""
    url = next_url or f"{endpoint.base_url}/v2/{repository.name}/tags/list{page_query(page_size)}"
    scopes = (Scope(repository.name, endpoint.profile.list_actions),)
    return Request(Operation.LIST_TAGS, "GET", url, repository, scopes=scopes)


def parse_tag_page(response: Response, request_url: str) -> NamePage:
    """Return the tags of one page; `null` is an empty list, and other names (Artifactory lists digests) are left out.

    The caller has to detect pages in a circle. Raises `ProtocolViolation` for a body that is no list of tags and for a
    next page on another host.
    """
    names = _names_under("tags", response, request_url, Operation.LIST_TAGS)
    return NamePage(tuple(filter(is_tag, names)), next_page_url(response, request_url))


def build_list_catalog(endpoint: Endpoint, *, page_size: int, next_url: str | None = None) -> Request:
    """Ask for the first `page_size` repositories (at most 1000; 0 leaves it to the registry), or for `next_url`."""
    url = next_url or f"{endpoint.base_url}/v2/_catalog{page_query(page_size)}"
    # Credentials belong to a repository, and one without an entry of its own has the registry's.
    nowhere = Repository(endpoint.registry, "_catalog")
    return Request(Operation.LIST_CATALOG, "GET", url, nowhere, scopes=(CATALOG_SCOPE,))


def parse_catalog_page(response: Response, request_url: str) -> NamePage:
    """Return the repositories of one page. Raises `ProtocolViolation` as `parse_tag_page` does."""
    names = _names_under("repositories", response, request_url, Operation.LIST_CATALOG)
    return NamePage(tuple(names), next_page_url(response, request_url))


def parse_named_page(
    response: Response, request_url: str, name_of: Callable[[dict[str, Any]], object], *, key: str = ""
) -> tuple[str, ...]:
    """Return `name_of` of each object in a list of a registry's own API: the body, or the list under its `key`.

    `null` is an empty list. Raises `ProtocolViolation` for anything else.
    """
    try:
        body = orjson.loads(response.body)
        items = body[key] if key else body
        names = tuple(name_of(item) for item in items or ()) if isinstance(items, list | None) else (None,)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        names = (None,)
    found = tuple(name for name in names if isinstance(name, str))
    if len(found) != len(names):
        raise _no_list("repositories", response, request_url, Operation.LIST_CATALOG)
    return found


def _names_under(key: str, response: Response, request_url: str, operation: Operation) -> list[str]:
    try:
        body = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        body = None
    names = body.get(key) if isinstance(body, dict) else 0
    if names is None:
        return []
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    raise _no_list(key, response, request_url, operation)


def _no_list(noun: str, response: Response, request_url: str, operation: Operation) -> ProtocolViolation:
    line = f"GET {without_query(request_url)}"
    return ProtocolViolation(
        f"{line} answered {response.status} with a body that is no list of {noun}",
        origin=Origin.SOURCE,
        operation=operation.value,
        request=line,
        status=response.status,
    )
