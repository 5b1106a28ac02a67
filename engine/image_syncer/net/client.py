"""The client: where token → limit → send → retry meet, for the small requests of the coordinator and of the workers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from image_syncer.errors import NotAskedError, Origin, RateLimitedError, RegistryDownError, SyncError
from image_syncer.net.in_flight_limit import InFlightLimit
from image_syncer.planning import Patience, Tries
from image_syncer.planning.mirrors import Mirrors
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Operation,
    follow_redirect,
    may_carry_credentials,
    parse_allowance,
    parse_failure,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from image_syncer.net.authorization import Authorizer
    from image_syncer.net.health import RegistryHealth
    from image_syncer.net.throttle import Throttle
    from image_syncer.net.transport import Transport
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["RegistryClient"]

_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


class RegistryClient:
    """Sends requests to registries: authorised, throttled, redirected with care, tried again where that can help.

    `write_retry` is for manifests that are put, where they are tried otherwise. `chance` gives a uniform number in
    [0, 1). `on_pause(registry, seconds)` is told when a registry asks to be left alone. A refusal for asking too often
    (429) is waited for, and counts as a failed try only where the operation was let through nowhere at the registry for
    `patience_s` seconds (None: that of `retry`). With `health`, `send` waits for registries that are down, which uses
    up no tries.
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
        patience_s: float | None = None,
        health: RegistryHealth | None = None,
    ) -> None:
        self.transport = transport
        self.authorizer = authorizer
        self.throttle = throttle
        self.mirrors = Mirrors()
        """Of source registries, which of them may be asked."""
        self._retry = retry
        self._write_retry = write_retry or retry
        self._chance = chance
        self._on_pause = on_pause
        self._limit_of = limit_of
        self._patience = Patience(retry.patience_s if patience_s is None else patience_s)
        self._health = health
        self._loop = asyncio.get_running_loop()
        self.retries: Counter[str] = Counter()
        """By registry, requests that were sent again after a failure."""
        self._gates: dict[str, InFlightLimit] = {}
        self._published: set[str] = set()

    async def send(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        origin: Origin,
        accept: Collection[int] = (200,),
        check: Callable[[Response], None] = lambda _response: None,
    ) -> Response:
        """The answer, if its status is one of `accept`; otherwise the error that it stands for, after all tries.

        What `check` raises for an accepted answer counts as a try that failed.
        """
        policy = self._write_retry if request.operation is Operation.PUT_MANIFEST else self._retry
        began_at = self._loop.time()
        tries: Tries | None = None
        registry, health = endpoint.registry, self._health
        suspect: SyncError | None = None
        while True:
            try:
                if health is not None and health.breakers.is_held(registry):
                    tries = await health.wait(registry, tries, suspect)
                    suspect = None
                response = await self.ask(request, endpoint, origin=origin)
                if health is not None and response.status < _SERVER_ERRORS:
                    health.breakers.answered(registry, self._loop.time())
                if response.status in accept:
                    check(response)
                    return response
                raise self.failure(response, request, endpoint, origin)
            except RegistryDownError as error:
                error.origin = origin
                error.located(operation=request.operation.value)
                raise
            except SyncError as error:
                if error is suspect:
                    raise
                now = self._loop.time()
                tries = tries or Tries(began_at)
                held = health is not None and health.breakers.failed(registry, error, now)
                counts = not held and (not isinstance(error, NotAskedError) or self._patience.is_over(registry, now))
                pause = policy.pause_s(error, tries.made + counts, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause, counts=counts)
                if held:
                    continue
                if pause is None:
                    tries.write_on(error)
                    if error.origin is Origin.LOCAL:
                        error.origin = origin
                    error.located(operation=request.operation.value)
                    if health is not None and health.is_suspect(registry, error, tries, now):
                        suspect = error
                        continue
                    raise
            self.retries[registry] += 1
            await asyncio.sleep(pause)

    def failure(self, response: Response, request: Request, endpoint: Endpoint, origin: Origin) -> SyncError:
        """The error that an unwanted answer stands for; a registry that asks to be left alone is."""
        error = parse_failure(
            response, request=request, origin=origin, now_epoch_s=time.time(), profile=endpoint.profile
        )
        registry, turns = endpoint.registry, self.throttle.turns
        limited = isinstance(error, RateLimitedError)
        if limited and turns is not None and may_carry_credentials(endpoint.base_url, response.url or request.url):
            limit = endpoint.profile.limit_of(request.operation)
            turns.refused(registry if limit is None else limit.bucket(registry), error.retry_after_s)
        elif limited or error.retry_after_s is not None:
            self._on_pause(registry, self.throttle.pause(registry, error.retry_after_s, self._loop.time()))
        return error

    def waits_for(self, error: SyncError, endpoint: Endpoint) -> bool:
        """Whether the request that met `error` is to be sent again when it is its turn, as if it had not been sent."""
        if not isinstance(error, RateLimitedError) or (error.retry_after_s or 0.0) > self._retry.longest_wait_s:
            return False
        return self._patience.waits(endpoint.registry, error.operation, self._loop.time())

    def let_through(self, endpoint: Endpoint, operation: Operation) -> None:
        """The registry does not refuse this now."""
        if self._patience:
            self._patience.went(endpoint.registry, operation.value)

    async def ask(self, request: Request, endpoint: Endpoint, *, origin: Origin) -> Response:
        """`exchange`, again and again while the registry only asks to be asked less often."""
        while True:
            response = await self.exchange(request, endpoint, origin=origin)
            if response.status != _TOO_MANY_REQUESTS:
                self.let_through(endpoint, request.operation)
                return response
            error = self.failure(response, request, endpoint, origin)
            if not self.waits_for(error, endpoint):
                raise error

    async def exchange(self, request: Request, endpoint: Endpoint, *, origin: Origin) -> Response:
        """One try: a token if one is owed, the answer after redirects. A 401 is met with a new token."""
        limit = self._gates.get(endpoint.registry) or self._new_gate(endpoint.registry)
        if not limit.try_enter():
            await limit.enter()
        try:
            response = await self._perform(request, endpoint, origin)
            followed = 0
            hop = request
            while response.status in REDIRECT_STATUSES and response.headers.get("Location"):
                hop = follow_redirect(hop, response, followed=followed, origin=origin, allowed=endpoint.redirects)
                followed += 1
                response = await self._perform(hop, endpoint, origin)
            return response
        finally:
            limit.leave()

    def holds_back(self, registry: str, now: float) -> bool:
        """Whether requests to `registry` may have to wait for their turn: it is paced, it asked to be left alone, or as
        many are under way as may be.
        """
        limit = self._gates.get(registry)
        crowded = self.transport.crowded or (limit is not None and limit.crowded)
        if crowded or registry in self.throttle.watched or self.throttle.wait_s(registry, now) > 0:
            return True
        return registry in self._published and self.throttle.waits_within(registry)

    async def wait_for_turn(self, endpoint: Endpoint, operation: Operation) -> None:
        """Wait until the registry may be asked, see `Throttle.wait_for_turn`; each request needs a turn of its own, and
        one more where the registry publishes a limit for its kind.
        """
        registry, longest_wait_s = endpoint.registry, self._retry.longest_wait_s
        if registry in self.throttle.watched:
            await self.throttle.wait_for_turn(registry, longest_wait_s)
        if endpoint.profile.limits:
            if registry not in self._published:
                self._publish(endpoint)
            limit = endpoint.profile.limit_of(operation)
            if limit is not None:
                await self.throttle.wait_for_turn(limit.bucket(registry), longest_wait_s)

    def _publish(self, endpoint: Endpoint) -> None:
        self._published.add(endpoint.registry)
        if self.throttle.turns is not None:
            for limit in endpoint.profile.limits:
                self.throttle.turns.published(limit.bucket(endpoint.registry), limit.per_s)

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
        watched, registry = self.throttle.watched, endpoint.registry
        if own and (registry in watched or endpoint.profile.limits):
            await self.wait_for_turn(endpoint, request.operation)
        value = await self._authorize(request, endpoint) if own else None
        try:
            response = await self.transport.perform(request, endpoint, authorization=value, origin=origin)
            renewals = 0
            while response.status == _UNAUTHORIZED and own and renewals < MOST_RENEWALS:
                renewals += 1
                challenges = response.headers.get_all("WWW-Authenticate")
                renewed = await self.authorizer.renew(endpoint, request.repository, request.scopes, value, challenges)
                value = renewed.value
                if registry in watched or endpoint.profile.limits:
                    await self.wait_for_turn(endpoint, request.operation)
                response = await self.transport.perform(request, endpoint, authorization=value, origin=origin)
        except BaseException:
            self.authorizer.abandoned(endpoint)
            raise
        if own:
            self.authorizer.answered(endpoint)
            if response.headers.mention("ratelimit"):
                limit = endpoint.profile.limit_of(request.operation)
                self._note_allowance(registry if limit is None else limit.bucket(registry), response)
        return response

    def _note_allowance(self, bucket: str, response: Response) -> None:
        allowance = parse_allowance(response.headers, time.time())
        if allowance is not None and self.throttle.turns is not None:
            self.throttle.turns.told(bucket, allowance)

    def _new_gate(self, registry: str) -> InFlightLimit:
        limit = self._gates[registry] = InFlightLimit(self._limit_of(registry) or REQUESTS_IN_FLIGHT)
        return limit


MOST_RENEWALS = 3
"""After a 401: what is owed at all, a token for one that was revoked, and then `renew` says what is missing."""
REQUESTS_IN_FLIGHT = 64
"""Small requests at once to one registry, where its settings do not say."""
