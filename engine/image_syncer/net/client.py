"""The client: where token → limit → send → retry meet, for the small requests of the coordinator and of the workers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from image_syncer.errors import NotAskedError, Origin, RateLimitedError, SyncError
from image_syncer.net.gate import Gate
from image_syncer.planning import Tries
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Operation,
    follow_redirect,
    may_carry_credentials,
    parse_failure,
)
from image_syncer.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from image_syncer.net.authorization import Authorizer
    from image_syncer.net.throttle import Throttle
    from image_syncer.net.transport import Transport
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["RegistryClient"]

_UNAUTHORIZED = 401


class RegistryClient:
    """Sends requests to registries: authorised, throttled, redirected with care, tried again where that can help.

    `write_retry` is for manifests that are put, where they are tried otherwise. `chance` gives a uniform number in
    [0, 1). `on_pause(registry, seconds)` is told when a registry asks to be left alone.
    """

    def __init__(
        self,
        transport: Transport,
        authorizer: Authorizer,
        throttle: Throttle,
        *,
        retry: RetryPolicy,
        write_retry: RetryPolicy | None = None,
        chance: Callable[[], float],
        on_pause: Callable[[str, float], None] = lambda _registry, _seconds: None,
        limit_of: Callable[[str], int | None] = lambda _registry: None,
    ) -> None:
        self.transport = transport
        self.authorizer = authorizer
        self.throttle = throttle
        self._retry = retry
        self._write_retry = write_retry or retry
        self._chance = chance
        self._on_pause = on_pause
        self._limit_of = limit_of
        self._loop = asyncio.get_running_loop()
        self._gates: dict[str, Gate] = {}

    async def send(
        self, request: Request, endpoint: Endpoint, *, origin: Origin, accept: Collection[int] = (200,)
    ) -> Response:
        """The answer, if its status is one of `accept`; otherwise the error that it stands for, after all tries."""
        policy = self._write_retry if request.operation is Operation.PUT_MANIFEST else self._retry
        began_at = self._loop.time()
        tries: Tries | None = None
        while True:
            try:
                response = await self.exchange(request, endpoint, origin=origin)
                if response.status in accept:
                    return response
                raise self.failure(response, request, endpoint, origin)
            except SyncError as error:
                now = self._loop.time()
                tries = tries or Tries(began_at)
                pause = policy.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause)
                if pause is None:
                    tries.write_on(error)
                    if error.origin is Origin.LOCAL:
                        error.origin = origin
                    raise
            await asyncio.sleep(pause)

    def failure(self, response: Response, request: Request, endpoint: Endpoint, origin: Origin) -> SyncError:
        """The error that an unwanted answer stands for; a registry that asks to be left alone is."""
        error = parse_failure(response, request=request, origin=origin, now_epoch_s=time.time())
        if isinstance(error, RateLimitedError) or error.retry_after_s is not None:
            pause = self.throttle.pause(endpoint.registry, error.retry_after_s, self._loop.time())
            self._on_pause(endpoint.registry, pause)
        return error

    async def exchange(self, request: Request, endpoint: Endpoint, *, origin: Origin) -> Response:
        """One try: a token if one is owed, the answer after redirects. A 401 is met with a new token."""
        gate = self._gates.get(endpoint.registry) or self._new_gate(endpoint.registry)
        if not gate.try_enter():
            await gate.enter()
        try:
            if self.throttle.wait_s(endpoint.registry, self._loop.time()):
                await self.wait_for_turn(endpoint)
            response = await self._perform(request, endpoint, origin)
            followed = 0
            hop = request
            while response.status in REDIRECT_STATUSES and response.headers.get("Location"):
                hop = follow_redirect(hop, response, followed=followed, origin=origin)
                followed += 1
                response = await self._perform(hop, endpoint, origin)
            return response
        finally:
            gate.leave()

    async def wait_for_turn(self, endpoint: Endpoint) -> None:
        """Sleep while the registry has asked to be left alone; raises NotAskedError where that is too long to wait.

        Then nothing is asked: each request would only be refused again.
        """
        # What is in force may be prolonged while we sleep.
        while wait := self.throttle.wait_s(endpoint.registry, self._loop.time()):
            if wait > self._retry.longest_wait_s:
                raise NotAskedError(
                    f"the registry {endpoint.registry} asked to be left alone for {format_duration(wait)}",
                    hint="Run it again then, or ask the registry for a higher limit.",
                    retry_after_s=wait,
                )
            await asyncio.sleep(wait)

    async def authorization_for(self, request: Request, endpoint: Endpoint) -> str | None:
        """The Authorization header for `request`: nothing for another host than the registry's own."""
        if not may_carry_credentials(endpoint.base_url, request.url):
            return None
        return await self._authorize(request, endpoint)

    async def _authorize(self, request: Request, endpoint: Endpoint) -> str | None:
        known = self.authorizer.known(endpoint, request.repository, request.scopes)
        if known is None:
            known = await self.authorizer.authorize(endpoint, request.repository, request.scopes)
        return known.value

    async def _perform(self, request: Request, endpoint: Endpoint, origin: Origin) -> Response:
        own = may_carry_credentials(endpoint.base_url, request.url)
        value = await self._authorize(request, endpoint) if own else None
        try:
            response = await self.transport.perform(request, endpoint, authorization=value, origin=origin)
            renewals = 0
            while response.status == _UNAUTHORIZED and own and renewals < MOST_RENEWALS:
                renewals += 1
                challenges = response.headers.get_all("WWW-Authenticate")
                renewed = await self.authorizer.renew(endpoint, request.repository, request.scopes, value, challenges)
                value = renewed.value
                response = await self.transport.perform(request, endpoint, authorization=value, origin=origin)
        except BaseException:
            self.authorizer.abandoned(endpoint)
            raise
        if own:
            self.authorizer.answered(endpoint)
        return response

    def _new_gate(self, registry: str) -> Gate:
        gate = self._gates[registry] = Gate(self._limit_of(registry) or REQUESTS_IN_FLIGHT)
        return gate


MOST_RENEWALS = 3
"""After a 401: what is owed at all, a token for one that was revoked, and then `renew` says what is missing."""
REQUESTS_IN_FLIGHT = 64
"""Small requests at once to one registry, where its settings do not say."""
