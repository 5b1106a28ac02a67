"""The repositories of a group of GitLab, by GitLab's own API: `/v2/_catalog` is for its administrators only.

https://docs.gitlab.com/api/container_registry/, "List registry repositories" within a group: those of every project in
the group and in the groups below it (app/finders/container_repositories_finder.rb). The API is where the registry's
tokens come from, and takes a personal or a group access token that may read the API (`read_api`), which is a password
of the registry too: https://docs.gitlab.com/api/rest/authentication/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from image_syncer.oci import Repository
from image_syncer.registry.catalog import CatalogPage, parse_named_page
from image_syncer.registry.challenge import parse_challenges, rank_challenges
from image_syncer.registry.location import origin_of
from image_syncer.registry.message import Operation, Request
from image_syncer.registry.pagination import next_page_url
from image_syncer.registry.tokens import realm_allowed

if TYPE_CHECKING:
    from image_syncer.registry.endpoint import Endpoint
    from image_syncer.registry.message import Response

__all__ = ["build_list_gitlab_repositories", "find_gitlab", "parse_gitlab_repositories"]

_PAGE_SIZE = 100
"""The most that GitLab gives at once."""


def find_gitlab(response: Response, endpoint: Endpoint) -> str | None:
    """Where GitLab's API is, by the registry's answer to `/v2/`: scheme, host and port of its token service. None where
    the answer does not say it, or says one that must not see a password.
    """
    for challenge in rank_challenges(parse_challenges(response.headers.get_all("WWW-Authenticate"))):
        realm = challenge.params.get("realm", "")
        origin = origin_of(realm)
        if challenge.scheme == "bearer" and origin is not None and realm_allowed(realm, endpoint):
            return f"{origin[0]}://{origin[1]}:{origin[2]}"
    return None


def build_list_gitlab_repositories(
    endpoint: Endpoint, gitlab_url: str, group: str, next_url: str | None = None
) -> Request:
    """Ask GitLab at `gitlab_url` for the first repositories of `group`, or for the page at `next_url`."""
    path = f"/api/v4/groups/{quote(group, safe='')}/registry/repositories?per_page={_PAGE_SIZE}&page=1"
    return Request(
        Operation.LIST_CATALOG,
        "GET",
        next_url or f"{gitlab_url}{path}",
        Repository(endpoint.registry, f"{group}/_catalog"),
    )


def parse_gitlab_repositories(response: Response, request_url: str) -> CatalogPage:
    """The names of one page, each with its project. Raises `ProtocolViolation` as `parse_catalog_page` does."""
    names = parse_named_page(response, request_url, lambda item: item["path"])
    return CatalogPage(names, next_page_url(response, request_url))
