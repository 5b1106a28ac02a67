"""The registry client: token, rate limit, redirects and retries around each small request.

A mirror of a source registry is tried once for each manifest and each blob; then the next mirror, and at last the
registry itself. A mirror that fails, other than by not having what was wanted, pauses for a minute, and twice as long
with each further failure. One that gave wrong bytes is not used any more.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from math import inf
from typing import TYPE_CHECKING

from image_syncer.errors import (
    IntegrityError,
    NotAskedError,
    NotFoundError,
    Origin,
    RateLimitedError,
    RegistryDownError,
    RegistryError,
    SyncError,
)
from image_syncer.net.transport import InFlightLimit
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Operation,
    follow_redirect,
    may_carry_credentials,
    parse_allowance,
    parse_failure,
)
from image_syncer.scheduling import Patience, Tries
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from image_syncer.net.endpoints import RegistryHealth
    from image_syncer.net.request_limiter import Throttle
    from image_syncer.net.token_broker import Authorizer
    from image_syncer.net.transport import Transport
    from image_syncer.registry import Endpoint, Request, Response
    from image_syncer.scheduling import RetryPolicy


FIRST_REST_S, LONGEST_REST_S = 60.0, 900.0


class Mirrors:
    """The mirrors as one process knows them, by the name of their registry."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._strikes: Counter[str] = Counter()
        self.counts: dict[str, list[int]] = {}
        """By registry, the bytes that came and the failures since the last `take_counts`."""

    def is_usable(self, registry: str, now: float) -> bool:
        """Whether it may be used now."""
        return now >= self._until.get(registry, -inf)

    def failed(self, registry: str, error: SyncError, now: float) -> None:
        """It could not give what was wanted."""
        self.counts.setdefault(registry, [0, 0])[1] += 1
        if isinstance(error, IntegrityError):
            self._until[registry] = inf
        elif not isinstance(error, NotFoundError) and self.is_usable(registry, now):
            rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(self._strikes[registry], 8))
            self._strikes[registry] += 1
            asked_s = error.retry_after_s if isinstance(error, RegistryError) else None
            self._until[registry] = now + max(rest_s, asked_s or 0.0)

    def came(self, registry: str, size: int) -> None:
        """A manifest or a blob of `size` bytes came from it."""
        self.counts.setdefault(registry, [0, 0])[0] += size
        self._strikes.pop(registry, None)

    def take_counts(self) -> dict[str, list[int]]:
        """Return `counts` and reset them."""
        taken, self.counts = self.counts, {}
        return taken


MOST_RENEWALS = 3
"""Renewals of a token for one request: for the first 401, for a revoked token, and to learn which right is missing."""
REQUESTS_IN_FLIGHT = 64
"""Small requests at once to one registry whose settings have no limit."""
_UNAUTHORIZED = 401
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


class RetryRules(Value, frozen=True):
    """How a client retries: by `policy`, and pushes of manifests by `write_policy` where it is given.

    `chance` returns a uniform number in [0, 1). A refusal for the rate of requests (429) counts as a failed try only
    after the registry has accepted no such operation for `patience_s` seconds (None: as the policy says).
    """

    policy: RetryPolicy
    chance: Callable[[], float]
    write_policy: RetryPolicy | None = None
    patience_s: float | None = None


class RegistryClient:
    """Sends requests to registries: authorized, rate-limited, redirected with care, retried where that can help.

    `on_pause(registry, seconds)` is called when a registry asks for a pause. `limit_of(registry)` is the maximum of
    requests in flight. With `health`, `send` waits for registries that are down, which uses up no tries.
    """

    def __init__(
        self,
        transport: Transport,
        authorizer: Authorizer,
        throttle: Throttle,
        retry: RetryRules,
        *,
        on_pause: Callable[[str, float], None] = lambda _registry, _seconds: None,
        limit_of: Callable[[str], int | None] = lambda _registry: None,
        health: RegistryHealth | None = None,
    ) -> None:
        self.transport = transport
        self.authorizer = authorizer
        self.throttle = throttle
        self.mirrors = Mirrors()
        """Which mirrors of source registries may be used."""
        self._retry = retry.policy
        self._write_retry = retry.write_policy or retry.policy
        self._chance = retry.chance
        self._on_pause = on_pause
        self._limit_of = limit_of
        self.patience = Patience(retry.policy.patience_s if retry.patience_s is None else retry.patience_s)
        """For operations that registries refuse for the rate of requests."""
        self._health = health
        self._loop = asyncio.get_running_loop()
        self.retries: Counter[str] = Counter()
        """Requests by registry that were sent again after a failure."""
        self._in_flight: dict[str, InFlightLimit] = {}
        self._published: set[str] = set()
        self._answered: set[str] = set()

    async def send(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        origin: Origin,
        accept: Collection[int] = (200,),
        check: Callable[[Response], None] = lambda _response: None,
    ) -> Response:
        """Return the answer if its status is one of `accept`; else raise its error, after all tries.

        An error of `check` for an accepted answer counts as a failed try.
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
                located = error.changed(origin=origin).located(operation=request.operation.value)
                raise located from error.__cause__
            except SyncError as error:
                if error is suspect:
                    raise
                now = self._loop.time()
                tries = tries or Tries(began_at)
                held = health is not None and health.breakers.failed(registry, error, now)
                counts = not held and (not isinstance(error, NotAskedError) or self.patience.is_over(registry, now))
                pause = policy.pause_s(error, tries.made + counts, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause, counts=counts)
                if held:
                    continue
                if pause is None:
                    last = tries.write_on(error).located(origin=origin, operation=request.operation.value)
                    if health is not None and health.is_suspect(registry, last, tries, now):
                        suspect = last
                        continue
                    raise last from error.__cause__
            self.retries[registry] += 1
            await asyncio.sleep(pause)

    def failure(self, response: Response, request: Request, endpoint: Endpoint, origin: Origin) -> SyncError:
        """Return the error of an unwanted answer, and start the pause that the registry asks for."""
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
        """Return whether the request that failed with `error` is sent again, as if it had not been sent before."""
        if not isinstance(error, RateLimitedError) or (error.retry_after_s or 0.0) > self._retry.longest_wait_s:
            return False
        return self.patience.waits(endpoint.registry, error.operation, self._loop.time())

    async def ask(self, request: Request, endpoint: Endpoint, *, origin: Origin) -> Response:
        """Repeat `exchange` while the registry only asks for fewer requests."""
        while True:
            response = await self.exchange(request, endpoint, origin=origin)
            if response.status != _TOO_MANY_REQUESTS:
                if self.patience:
                    self.patience.went(endpoint.registry, request.operation.value)
                return response
            error = self.failure(response, request, endpoint, origin)
            if not self.waits_for(error, endpoint):
                raise error

    async def exchange(self, request: Request, endpoint: Endpoint, *, origin: Origin) -> Response:
        """Send `request` once, with a token where needed; follow redirects, and answer a 401 with a new token."""
        limit = self._in_flight.get(endpoint.registry)
        if limit is None:
            most = self._limit_of(endpoint.registry) or REQUESTS_IN_FLIGHT
            limit = self._in_flight[endpoint.registry] = InFlightLimit(most)
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
        """Return whether requests to `registry` may have to wait: for a rate limit, a pause, or others in flight."""
        limit = self._in_flight.get(registry)
        crowded = self.transport.crowded or (limit is not None and limit.crowded)
        if crowded or registry in self.throttle.watched or self.throttle.wait_s(registry, now) > 0:
            return True
        return registry in self._published and self.throttle.waits_within(registry)

    async def wait_for_turn(self, endpoint: Endpoint, operation: Operation) -> None:
        """Wait until the registry accepts a request (`Throttle.wait_for_turn`), also in the bucket of the limit that it
        publishes for this operation.
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

    async def admit(self, request: Request, endpoint: Endpoint, *, token_s: float | None = None) -> str | None:
        """Wait for the turn of a request to the registry itself; return its Authorization header.

        Raises TimeoutError where the token takes more than `token_s` seconds.
        """
        if endpoint.registry in self.throttle.watched or endpoint.profile.limits:
            await self.wait_for_turn(endpoint, request.operation)
        known = self.authorizer.known(endpoint, request.repository, request.scopes)
        if known is None:
            asking = self.authorizer.authorize(endpoint, request.repository, request.scopes)
            known = await (asking if token_s is None else asyncio.wait_for(asking, token_s))
        return known.value

    async def _perform(self, request: Request, endpoint: Endpoint, origin: Origin) -> Response:
        own = may_carry_credentials(endpoint.base_url, request.url)
        watched, registry = self.throttle.watched, endpoint.registry
        value = await self.admit(request, endpoint) if own else None
        try:
            response = await self.transport.perform(request, endpoint, authorization=value, origin=origin)
            renewals = 0
            while response.status == _UNAUTHORIZED and own and renewals < MOST_RENEWALS:
                renewals += 1
                challenges = response.headers.get_all("WWW-Authenticate")
                value = (
                    await self.authorizer.renew(endpoint, request.repository, request.scopes, value, challenges)
                ).value
                if registry in watched or endpoint.profile.limits:
                    await self.wait_for_turn(endpoint, request.operation)
                response = await self.transport.perform(request, endpoint, authorization=value, origin=origin)
        except BaseException:
            self.authorizer.abandoned(endpoint)
            raise
        if own:
            if registry not in self._answered:
                self._answered.add(registry)
                self.authorizer.answered(endpoint)
            if "ratelimit" in response.headers.text.lower():
                allowance = parse_allowance(response.headers, time.time())
                if allowance is not None and self.throttle.turns is not None:
                    limit = endpoint.profile.limit_of(request.operation)
                    self.throttle.turns.told(registry if limit is None else limit.bucket(registry), allowance)
        return response
