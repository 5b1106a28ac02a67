"""The repositories of a namespace of Docker Hub, by its own API on another host: there is no `/v2/_catalog`.

https://docs.docker.com/reference/api/hub/latest/#tag/repositories/operation/listNamespaceRepositories: whoever asks
without a login gets the public ones. Credentials of the registry have no business at that host, and none is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import Repository
from image_syncer.registry.catalog import CatalogPage, parse_named_page
from image_syncer.registry.location import same_origin, without_query
from image_syncer.registry.message import Operation, Request

if TYPE_CHECKING:
    from image_syncer.registry.endpoint import Endpoint
    from image_syncer.registry.message import Response

__all__ = ["build_list_hub_repositories", "parse_hub_repositories"]

_PAGE_SIZE = 100


def build_list_hub_repositories(endpoint: Endpoint, namespace: str, next_url: str | None = None) -> Request:
    """Ask for the first repositories of `namespace`, or for the page at `next_url`."""
    scheme = endpoint.base_url.partition("://")[0]
    host = endpoint.profile.listing_host or endpoint.registry
    url = f"{scheme}://{host}/v2/namespaces/{quote(namespace, safe='')}/repositories?page=1&page_size={_PAGE_SIZE}"
    return Request(
        Operation.LIST_CATALOG, "GET", next_url or url, Repository(endpoint.registry, f"{namespace}/_catalog")
    )


def parse_hub_repositories(response: Response, request_url: str) -> CatalogPage:
    """The names of one page, each with its namespace. Raises `ProtocolViolation` for a body that is no list, and for a
    next page on another host.
    """
    names = parse_named_page(response, request_url, lambda item: f"{item['namespace']}/{item['name']}", key="results")
    next_url = orjson.loads(response.body).get("next")
    if not next_url:
        return CatalogPage(names, None)
    if not isinstance(next_url, str) or not same_origin(request_url, next_url):
        raise ProtocolViolation(
            "the next page of a list of repositories is said to be where no such list is",
            origin=Origin.SOURCE,
            operation=Operation.LIST_CATALOG.value,
            request=f"GET {without_query(request_url)}",
            status=response.status,
        )
    return CatalogPage(names, next_url)
