"""Paged lists of tags and repositories, bounded against lists without end."""

from __future__ import annotations

from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING

from image_syncer.errors import (
    AuthenticationError,
    Origin,
    ProtocolViolation,
    RefusedError,
    RegistryDownError,
    RegistryError,
)
from image_syncer.registry import GENERIC, Listing, Operation, build_ping
from image_syncer.registry.listings import build_list_catalog, build_list_tags, parse_catalog_page, parse_tag_page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from image_syncer.discovery.creation_times import CreationTimes
    from image_syncer.discovery.owner_lists import Page, PagedList
    from image_syncer.discovery.registry_access import OwnApi
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Request, Response


MAX_PAGES = 100_000
MAX_BARREN_PAGES = 1000
"""Pages in succession with no new name. Artifactory lists digests among its tags: pages may have nothing else."""
MAX_NAMES = 1_000_000
"""Names of one list, which are in memory together (some 100 MiB)."""


class Listings:
    """Asks source registries through the client. Errors say what was listed."""

    def __init__(self, client: RegistryClient, endpoints: EndpointBook, own_api: OwnApi) -> None:
        self._client = client
        self._endpoints = endpoints
        self._own_api = own_api

    @cached_property
    def times(self) -> CreationTimes:
        """The creation times of images."""
        from image_syncer.discovery.creation_times import CreationTimes

        return CreationTimes(self._client, self._endpoints)

    async def tags(self, repository: Repository) -> AsyncGenerator[tuple[list[str], bool], None]:
        """Every tag of a repository once, in the registry's order: page by page, as (tags, whether this is the last
        page).
        """
        endpoint = await self._endpoints.resolve(repository.registry, Origin.SOURCE)

        def build(next_url: str | None) -> Request:
            return build_list_tags(endpoint, repository, page_size=endpoint.profile.page_size, next_url=next_url)

        def send(request: Request) -> Awaitable[Response]:
            return self._client.send(request, endpoint, origin=Origin.SOURCE)

        async with aclosing(self._pages(send, build, parse_tag_page, Operation.LIST_TAGS, str(repository))) as pages:
            async for page in pages:
                yield page

    async def lists_by_owner(self, registry: str) -> bool:
        """Whether `registry` has a list for each project or namespace, see `repositories`.

        One request finds out whether it answers, since its own API goes through no health check, and which product it
        is, where its name does not tell. Raises TransportError and RegistryDownError where it does not answer.
        """
        endpoint = await self._endpoints.resolve(registry, Origin.SOURCE)
        if endpoint.profile is not GENERIC and endpoint.profile.listing is Listing.CATALOG:
            return False
        try:
            await self._client.send(build_ping(endpoint), endpoint, origin=Origin.SOURCE)
        except RegistryDownError:
            raise
        except RegistryError:
            pass  # it has answered; the list itself shows what it refuses
        endpoint = await self._endpoints.resolve(registry, Origin.SOURCE)
        return endpoint.profile.listing is not Listing.CATALOG

    async def repositories(self, registry: str, owner: str = "") -> AsyncGenerator[tuple[list[str], bool], None]:
        """The name of every repository of a registry, as `tags` does; with `owner`, those of that project or namespace,
        where the registry `lists_by_owner`.
        """
        endpoint = await self._endpoints.resolve(registry, Origin.SOURCE)
        if not owner and not endpoint.profile.has_catalog:
            raise RefusedError(
                f"{endpoint.profile.title} does not list all its repositories",
                origin=Origin.SOURCE,
                operation=Operation.LIST_CATALOG.value,
                hint=f"Begin the pattern with a namespace: {registry}/NAMESPACE/**",
            )
        from image_syncer.discovery.owner_lists import find_owner_list

        found = await find_owner_list(self._own_api, endpoint, owner) if owner else self._of_all(endpoint)
        build, parse, send = found
        place = f"{registry}/{owner}" if owner else registry
        try:
            async with aclosing(self._pages(send, build, parse, Operation.LIST_CATALOG, place)) as pages:
                async for page in pages:
                    yield page
        except AuthenticationError as error:
            endpoint = await self._endpoints.resolve(
                registry, Origin.SOURCE
            )  # the answer may have shown which product it is
            if not owner and endpoint.profile.listing is not Listing.CATALOG:
                hint = (
                    f"{endpoint.profile.title} lists all its repositories for administrators only. Begin the pattern "
                    f"with a whole name of a project or group: {registry}/NAME/**"
                )
                raise error.changed(hint=hint) from error.__cause__
            raise

    def _of_all(self, endpoint: Endpoint) -> PagedList:
        def build(next_url: str | None) -> Request:
            return build_list_catalog(endpoint, page_size=endpoint.profile.page_size, next_url=next_url)

        return build, parse_catalog_page, lambda request: self._client.send(request, endpoint, origin=Origin.SOURCE)

    async def _pages(
        self,
        send: Callable[[Request], Awaitable[Response]],
        build: Callable[[str | None], Request],
        parse: Callable[[Response, str], Page],
        operation: Operation,
        place: str,
    ) -> AsyncGenerator[tuple[list[str], bool], None]:
        what = "tags" if operation is Operation.LIST_TAGS else "repositories"

        def violation(text: str) -> ProtocolViolation:
            return ProtocolViolation(text, origin=Origin.SOURCE, operation=operation.value, repository=place)

        known: set[str] = set()
        seen: set[int] = set()  # hashes: the addresses themselves may be long
        barren = 0
        next_url: str | None = None
        for _ in range(MAX_PAGES):
            request = build(next_url)
            response = await send(request)
            page = parse(response, request.url)
            names = [name for name in dict.fromkeys(page.names) if name not in known]
            known.update(names)
            barren = 0 if names else barren + 1
            if barren >= MAX_BARREN_PAGES:
                raise violation(
                    f"the registry's list of {what} continues for {MAX_BARREN_PAGES:,} pages with nothing new in them"
                )
            if len(known) > MAX_NAMES:
                raise violation(f"the registry lists more than {MAX_NAMES:,} {what}")
            next_url = page.next_url
            if hash(next_url) in seen:
                raise violation(f"the registry's list of {what} goes round in circles")
            yield names, next_url is None
            if next_url is None:
                return
            seen.add(hash(next_url))
        raise violation(f"the registry's list of {what} has more than {MAX_PAGES:,} pages")
