"""The list of a registry's repositories: `/v2/_catalog` of distribution, which is no part of the OCI
specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import Repository
from image_syncer.registry.location import without_query
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.registry.pagination import next_page_url, page_query
from image_syncer.registry.scope import CATALOG_SCOPE
from image_syncer.registry.tags import parse_list
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.registry.endpoint import Endpoint

__all__ = ["CatalogPage", "build_list_catalog", "parse_catalog_page", "parse_named_page"]


class CatalogPage(Value, frozen=True):
    """Some repository names, without the registry's; `next_url` is the next page, None after the last."""

    names: tuple[str, ...]
    next_url: str | None


def build_list_catalog(endpoint: Endpoint, *, page_size: int, next_url: str | None = None) -> Request:
    """Ask for names of repositories: the first `page_size` (at most 1000; 0 leaves it to the registry), or
    the page at `next_url`.
    """
    url = next_url or f"{endpoint.base_url}/v2/_catalog{page_query(page_size)}"
    # In no repository; but credentials are those of one, and one without an entry of its own has the registry's.
    nowhere = Repository(endpoint.registry, "_catalog")
    return Request(Operation.LIST_CATALOG, "GET", url, nowhere, scopes=(CATALOG_SCOPE,))


def parse_catalog_page(response: Response, request_url: str) -> CatalogPage:
    """The names of one page. Raises `ProtocolViolation` for a body that is no list, and for a next page on
    another host.
    """
    names = parse_list(response, "repositories", request_url, Operation.LIST_CATALOG)
    return CatalogPage(tuple(names), next_page_url(response, request_url))


def parse_named_page(
    response: Response, request_url: str, name_of: Callable[[dict[str, Any]], object], *, key: str = ""
) -> tuple[str, ...]:
    """The names in a list of objects, as the registries' own APIs give them: what `name_of` finds in each; the list is
    the body, or stands under `key` in it, and `null` is an empty one. Raises `ProtocolViolation` for anything else.
    """
    try:
        body = orjson.loads(response.body)
        items = body[key] if key else body
        names = tuple(name_of(item) for item in items or ()) if isinstance(items, list | None) else (None,)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        names = (None,)
    found = tuple(name for name in names if isinstance(name, str))
    if len(found) == len(names):
        return found
    line = f"GET {without_query(request_url)}"
    raise ProtocolViolation(
        f"{line} answered {response.status} with a body that is no list of repositories",
        origin=Origin.SOURCE,
        operation=Operation.LIST_CATALOG.value,
        request=line,
        status=response.status,
    )
