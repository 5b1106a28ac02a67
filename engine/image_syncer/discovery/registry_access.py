"""Access of a run to registries: the client with tokens and endpoints, their own APIs, the open upload sessions."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from image_syncer.discovery.credential_lookup import CredentialLookup
from image_syncer.errors import Origin, SyncError
from image_syncer.net import (
    CurlDriver,
    EndpointBook,
    RegistryClient,
    RegistryHealth,
    RetryRules,
    Throttle,
    Timeouts,
    TokenBroker,
    Transport,
)
from image_syncer.registry import UploadSession, basic_authorization, build_cancel_upload, may_carry_credentials
from image_syncer.scheduling import Breakers, BreakerState, Tries, split_connections
from image_syncer.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from image_syncer.config import RegistryBook, Settings
    from image_syncer.credentials import CredentialSource
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry import Endpoint, Request, Response
    from image_syncer.scheduling import Breaker, RetryPolicies, RetryPolicy


CANCEL_TIMEOUT_S = 5.0
"""For the DELETEs of all sessions that are left at the end of a run: a courtesy, since sessions expire."""


class UploadSessions:
    """The newest address of every session that workers have opened and not closed, so that another worker, or another
    run, can resume it.

    The address is a capability, as a signed URL is: it goes to the workers and the journal, and nowhere else.
    `remembered` are those of an earlier run; `on_change` is called with the new address of a session, or None.
    """

    def __init__(
        self,
        remembered: Iterable[tuple[Repository, Digest, str]] = (),
        on_change: Callable[[Repository, Digest, str | None], None] = lambda _repository, _digest, _url: None,
    ) -> None:
        self.urls = {(repository, digest): url for repository, digest, url in remembered}
        """All that may still be open, by repository and blob."""
        self._on_change = on_change

    def note(self, repository: Repository, digest: Digest, url: str) -> None:
        """A session for the blob is open at `url`."""
        self.urls[repository, digest] = url
        self._on_change(repository, digest, url)

    def drop(self, repository: Repository, digest: Digest) -> None:
        """Its session is closed, or cancelled; nothing happens where none was known."""
        if self.urls.pop((repository, digest), None) is not None:
            self._on_change(repository, digest, None)

    def known(self, repository: Repository, digest: Digest) -> str | None:
        """The address of a session that may still be open; None where none is known."""
        return self.urls.get((repository, digest))

    async def cancel_left(self, client: RegistryClient, endpoints: EndpointBook) -> None:
        """Cancel all sessions that are left."""
        work = [self._cancel(client, endpoints, *blob, url) for blob, url in self.urls.items()]
        if work:
            _, late = await asyncio.wait([asyncio.ensure_future(one) for one in work], timeout=CANCEL_TIMEOUT_S)
            for task in late:
                task.cancel()

    async def _cancel(
        self, client: RegistryClient, endpoints: EndpointBook, repository: Repository, digest: Digest, url: str
    ) -> None:
        endpoint = endpoints.known(repository.registry)
        if endpoint is None:
            return  # this run has not asked that registry
        request = build_cancel_upload(endpoint, repository, UploadSession(url))
        try:
            await client.exchange(request, endpoint, origin=Origin.DESTINATION)
        except SyncError:
            return
        self.drop(repository, digest)


class OwnApi:
    """Sends requests to a registry's own API beside `/v2/`: by Basic or anonymous, without the client's tokens.
    `lookup` finds the credential of a repository; `retry` says how a registry is asked again.
    """

    def __init__(self, client: RegistryClient, lookup: CredentialLookup, retry: RetryPolicy) -> None:
        self._client = client
        self._lookup = lookup
        self._retry = retry
        self._loop = asyncio.get_running_loop()

    async def password_of(self, repository: Repository) -> str | None:
        """The Authorization header by Basic for `repository`; None where there is no password for it."""
        credential = (await self._lookup.find(repository)).credential
        return basic_authorization(credential) if credential is not None and credential.password else None

    async def token_of(self, repository: Repository) -> str | None:
        """The same as a Bearer, for an API whose access token is the password."""
        credential = (await self._lookup.find(repository)).credential
        return f"Bearer {credential.password}" if credential is not None and credential.password else None

    async def ask(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        origin: Origin,
        authorization: str | None,
        accept: Collection[int] = (200,),
        owed_to: str = "",
    ) -> Response:
        """The answer, if its status is one of `accept`; otherwise raises the error that it stands for, after all tries.

        `authorization` is sent only to the registry, or to `owed_to` (scheme, host and port).
        """
        if not may_carry_credentials(owed_to or endpoint.base_url, request.url):
            authorization = None
        tries = Tries(self._loop.time())
        while True:
            try:
                await self._client.wait_for_turn(endpoint, request.operation)
                response = await self._client.transport.perform(
                    request, endpoint, authorization=authorization, origin=origin
                )
                if response.status in accept:
                    return response
                raise self._client.failure(response, request, endpoint, origin)
            except SyncError as error:
                now = self._loop.time()
                pause = self._retry.pause_s(error, tries.made + 1, random.random(), tries.spent_s(now))  # noqa: S311 - no secret
                tries = tries.plus(error, now, pause)
                if pause is None:
                    last = tries.write_on(error).located(operation=request.operation.value)
                    raise last from error.__cause__
            await asyncio.sleep(pause)


class RegistryAccess:
    """The `client` of a run, and its parts. `on_pause(registry, seconds)` is called when a registry asks for a pause,
    `on_outage(breaker)` when one that was down is back or is given up.
    """

    def __init__(
        self,
        settings: Settings,
        registries: RegistryBook,
        source: CredentialSource,
        policies: RetryPolicies,
        *,
        connections: int,
        on_pause: Callable[[str, float], None] = lambda _registry, _seconds: None,
        on_outage: Callable[[Breaker], None] = lambda _breaker: None,
    ) -> None:
        self._longest_wait_s = settings.longest_wait_s
        self._loop = asyncio.get_running_loop()
        self.timeouts = Timeouts(connect_s=settings.connect_timeout_s, stall_s=settings.stall_timeout_s)
        self.driver = CurlDriver(connections=connections)
        self.transport = Transport(self.driver, self.timeouts)
        self.health = RegistryHealth(
            Breakers(settings.give_up_after_s),
            lambda registry: self.endpoints.ping(registry),  # noqa: PLW0108 - it is made below
            on_outage=on_outage,
        )
        self.lookup = CredentialLookup(source, registries)
        self.client = RegistryClient(
            self.transport,
            TokenBroker(
                self.transport,
                self.lookup,
                retry=policies.token,
                chance=random.random,
                wait_for_turn=self._wait_for_turn,
            ),
            Throttle(),
            RetryRules(policies.read, random.random, write_policy=policies.write),
            on_pause=on_pause,
            limit_of=lambda registry: split_connections(registries.host_settings(registry).max_connections)[0],
            health=self.health,
        )
        self.endpoints = EndpointBook(
            self.transport, registries, retry=policies.read, chance=random.random, health=self.health
        )
        self.own_api = OwnApi(self.client, self.lookup, policies.read)

    async def _wait_for_turn(self, registry: str) -> None:
        await self.client.throttle.wait_for_turn(registry, self._longest_wait_s)

    def is_awaited(self, now: float) -> bool:
        """Whether a registry that is down, or asked for a pause, will be asked again."""
        return bool(self.health.outages()) or self.client.throttle.longest(now) is not None

    def holds_back(self, registry: str, now: float) -> bool:
        """Whether requests to `registry` have to wait."""
        return self.health.breakers.is_held(registry) or self.client.holds_back(registry, now)

    def waiting(self, now: float) -> str | None:
        """Which registry the run waits for, in words."""
        for registry, seconds in self.health.outages():
            return f"{registry} has not answered for {format_duration(seconds)}"
        if longest := self.client.throttle.longest(now):
            return f"{longest[0]} asked for a pause of {format_duration(longest[1])}"
        return None

    def tell_outage(self, breaker: Breaker) -> tuple[str, bool]:
        """An outage in words, and whether the registry was given up."""
        if breaker.state is BreakerState.GIVEN_UP:
            return breaker.down_error().message, True
        seconds = format_duration(self._loop.time() - breaker.failed_at)
        return f"the registry {breaker.registry} was down for {seconds}, since {breaker.since}", False
