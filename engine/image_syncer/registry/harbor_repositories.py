"""The repositories of a project of Harbor, by its own API: `/v2/_catalog` is for system administrators only.

https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml, `listRepositories`: the name and password of a user
or a robot by Basic, who needs the right to list repositories in the project; of a public project nobody does. The list
over all projects (`listAllRepositories`) is not used: for a robot it has the public ones only, and says so nowhere
(src/server/v2.0/handler/repository.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from image_syncer.oci import Repository
from image_syncer.registry.catalog import CatalogPage, parse_named_page
from image_syncer.registry.message import Operation, Request
from image_syncer.registry.pagination import next_page_url

if TYPE_CHECKING:
    from image_syncer.registry.endpoint import Endpoint
    from image_syncer.registry.message import Response

__all__ = ["build_list_harbor_repositories", "parse_harbor_repositories"]

_PAGE_SIZE = 100
"""The most that Harbor gives at once."""


def build_list_harbor_repositories(endpoint: Endpoint, project: str, next_url: str | None = None) -> Request:
    """Ask for the first repositories of `project`, or for the page at `next_url`."""
    path = f"/api/v2.0/projects/{quote(project, safe='')}/repositories?page=1&page_size={_PAGE_SIZE}"
    place = Repository(endpoint.registry, f"{project}/_catalog")
    return Request(Operation.LIST_CATALOG, "GET", next_url or f"{endpoint.base_url}{path}", place)


def parse_harbor_repositories(response: Response, request_url: str) -> CatalogPage:
    """The names of one page, each with its project. Raises `ProtocolViolation` as `parse_catalog_page` does."""
    names = parse_named_page(response, request_url, lambda item: item["name"])
    return CatalogPage(names, next_page_url(response, request_url))
