"""Vendors' own APIs: repositories of a Harbor project, a GitLab group or a Docker Hub namespace; Harbor's projects.

Harbor (https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml) takes the name and password of a user or a
robot by Basic; its list over all projects is not used, since for a robot it silently has the public ones only. GitLab
(https://docs.gitlab.com/api/container_registry/) lists a group with its subgroups, for an access token with `read_api`,
and has its API where the registry's tokens come from. Docker Hub
(https://docs.docker.com/reference/api/hub/latest/) has its API on another host, which gets no credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import Repository
from image_syncer.registry.listings import NamePage, parse_named_page
from image_syncer.registry.location import origin_of, same_origin, without_query
from image_syncer.registry.message import Operation, Request, next_page_url
from image_syncer.registry.tokens import parse_challenges, rank_challenges, realm_allowed

if TYPE_CHECKING:
    from image_syncer.registry.endpoint import Endpoint
    from image_syncer.registry.message import Response


_PAGE_SIZE = 100
"""The maximum of GitLab and Harbor."""
_PROJECTS_PATH = "/api/v2.0/projects"
PROJECT_THERE = 200
PROJECT_ABSENT = 404
PROJECT_CREATED = 201
PROJECT_TAKEN = 409
"""Another client has created it meanwhile."""


def build_list_hub_repositories(endpoint: Endpoint, namespace: str, next_url: str | None = None) -> Request:
    """Ask for the first repositories of `namespace`, or for the page at `next_url`."""
    scheme = endpoint.base_url.partition("://")[0]
    host = endpoint.profile.listing_host or endpoint.registry
    url = f"{scheme}://{host}/v2/namespaces/{quote(namespace, safe='')}/repositories?page=1&page_size={_PAGE_SIZE}"
    return _list_request(endpoint, namespace, next_url or url)


def parse_hub_repositories(response: Response, request_url: str) -> NamePage:
    """Return the names of one page, each with its namespace. Raises `ProtocolViolation`."""
    names = parse_named_page(response, request_url, lambda item: f"{item['namespace']}/{item['name']}", key="results")
    next_url = orjson.loads(response.body).get("next")
    if not next_url:
        return NamePage(names, None)
    if not isinstance(next_url, str) or not same_origin(request_url, next_url):
        raise ProtocolViolation(
            "the next page of a list of repositories is said to be where no such list is",
            origin=Origin.SOURCE,
            operation=Operation.LIST_CATALOG.value,
            request=f"GET {without_query(request_url)}",
            status=response.status,
        )
    return NamePage(names, next_url)


def find_gitlab(response: Response, endpoint: Endpoint) -> str | None:
    """Return scheme, host and port of GitLab's API, which are those of the token service in the answer to `/v2/`.

    None where the answer does not name one, or one that must not see a password.
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
    return _list_request(endpoint, group, next_url or f"{gitlab_url}{path}")


def parse_gitlab_repositories(response: Response, request_url: str) -> NamePage:
    """Return the names of one page, each with its project. Raises `ProtocolViolation` as `parse_catalog_page` does."""
    names = parse_named_page(response, request_url, lambda item: item["path"])
    return NamePage(names, next_page_url(response, request_url))


def build_list_harbor_repositories(endpoint: Endpoint, project: str, next_url: str | None = None) -> Request:
    """Ask for the first repositories of `project`, or for the page at `next_url`."""
    path = f"{_PROJECTS_PATH}/{quote(project, safe='')}/repositories?page=1&page_size={_PAGE_SIZE}"
    return _list_request(endpoint, project, next_url or f"{endpoint.base_url}{path}")


def parse_harbor_repositories(response: Response, request_url: str) -> NamePage:
    """Return the names of one page, each with its project. Raises `ProtocolViolation` as `parse_catalog_page` does."""
    names = parse_named_page(response, request_url, lambda item: item["name"])
    return NamePage(names, next_page_url(response, request_url))


def _list_request(endpoint: Endpoint, owner: str, url: str) -> Request:
    return Request(Operation.LIST_CATALOG, "GET", url, Repository(endpoint.registry, f"{owner}/_catalog"))


def project_of(repository: Repository) -> str:
    """Return the Harbor project of a repository: the first component of its name."""
    return repository.name.partition("/")[0]


def build_head_project(endpoint: Endpoint, repository: Repository) -> Request:
    """Ask whether the project of `repository` exists: `PROJECT_THERE`, or `PROJECT_ABSENT`."""
    url = f"{endpoint.base_url}{_PROJECTS_PATH}?project_name={quote(project_of(repository), safe='')}"
    return Request(Operation.FIND_PROJECT, "HEAD", url, repository)


def build_create_project(
    endpoint: Endpoint, repository: Repository, *, public: bool | None = None, scan_on_push: bool | None = None
) -> Request:
    """Create the project of `repository`: `PROJECT_CREATED`, or `PROJECT_TAKEN`. None leaves a setting to Harbor."""
    settings = {"public": public, "auto_scan": scan_on_push}
    metadata = {name: str(value).lower() for name, value in settings.items() if value is not None}
    body: dict[str, object] = {"project_name": project_of(repository)}
    if metadata:
        body["metadata"] = metadata
    headers = (("Content-Type", "application/json"),)
    url = f"{endpoint.base_url}{_PROJECTS_PATH}"
    return Request(Operation.CREATE_PROJECT, "POST", url, repository, headers, orjson.dumps(body))
