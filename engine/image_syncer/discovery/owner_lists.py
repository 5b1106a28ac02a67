"""Lists of the repositories of one project, namespace or group, by the registries' own APIs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from image_syncer.errors import Origin, RefusedError
from image_syncer.oci import Repository
from image_syncer.registry import Listing, Operation, build_ping
from image_syncer.registry.vendor_apis import (
    build_list_gitlab_repositories,
    build_list_harbor_repositories,
    build_list_hub_repositories,
    find_gitlab,
    parse_gitlab_repositories,
    parse_harbor_repositories,
    parse_hub_repositories,
)
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.discovery.registry_access import OwnApi
    from image_syncer.registry import Endpoint, Request, Response


_PING_STATUSES = (200, 401, 403, 404)

_log = get_logger(__name__)


class Page(Protocol):
    """One page of a list."""

    @property
    def names(self) -> tuple[str, ...]:
        """In the registry's order."""

    @property
    def next_url(self) -> str | None:
        """The absolute address of the next page; None after the last."""


PagedList: TypeAlias = """tuple[
    Callable[[str | None], Request], Callable[[Response, str], Page], Callable[[Request], Awaitable[Response]]
]"""
"""Builds the request for a page, parses a page, and sends a request."""


async def find_owner_list(own_api: OwnApi, endpoint: Endpoint, owner: str) -> PagedList:
    """How to list the repositories of `owner`, by the profile of the registry at `endpoint`. Raises RefusedError where
    the address of its GitLab is not known.
    """
    place = Repository(endpoint.registry, f"{owner}/_catalog")
    listing = endpoint.profile.listing
    if listing is Listing.GITLAB_API:
        answer = await own_api.ask(
            build_ping(endpoint), endpoint, origin=Origin.SOURCE, authorization=None, accept=_PING_STATUSES
        )
        gitlab_url = find_gitlab(answer, endpoint)
        if gitlab_url is None:
            raise RefusedError(
                f"{endpoint.registry} does not say where its GitLab is, whose API lists repositories",
                origin=Origin.SOURCE,
                operation=Operation.LIST_CATALOG.value,
            )
        token = await own_api.token_of(place)
        send = partial(own_api.ask, endpoint=endpoint, origin=Origin.SOURCE, authorization=token, owed_to=gitlab_url)
        return partial(build_list_gitlab_repositories, endpoint, gitlab_url, owner), parse_gitlab_repositories, send
    password = await own_api.password_of(place)
    send = partial(own_api.ask, endpoint=endpoint, origin=Origin.SOURCE, authorization=password)
    if listing is Listing.HARBOR_API:
        return partial(build_list_harbor_repositories, endpoint, owner), parse_harbor_repositories, send
    if password is not None:
        _log.warning("only public repositories are listed", registry=endpoint.registry, namespace=owner)
    return partial(build_list_hub_repositories, endpoint, owner), parse_hub_repositories, send
