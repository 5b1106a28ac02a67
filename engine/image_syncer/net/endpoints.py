"""Endpoints of registries: HTTPS, or with `insecure: true` also plain HTTP; and registries that are down.

`scheduling/breaker.py` decides when a registry is down. Requests to it wait here while one probe after the other is
sent; then all of them continue or fail.
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import Origin, RegistryDownError, SyncError, TransportError
from image_syncer.net.curl_errors import transport_error
from image_syncer.net.network_options import Reach
from image_syncer.net.shared_work import share, shared_result
from image_syncer.net.transport import set_connection
from image_syncer.registry import (
    GENERIC,
    build_ping,
    candidate_endpoints,
    may_carry_credentials,
    parse_failure,
    recognise_answer,
)
from image_syncer.scheduling import BreakerState, Tries
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.config import HostSettings, RegistryBook
    from image_syncer.net.transport import Transport
    from image_syncer.registry import Endpoint, Request, Response
    from image_syncer.registry.endpoint import EndpointData
    from image_syncer.scheduling import Breaker, Breakers, RetryPolicy


MOST_OUTAGES = 5
"""Outages after which an operation that never succeeds in between fails."""
LEAST_PROBE_S = 1.0
"""The time of the last probe before a registry is given up."""
ANSWERS_LOOKED_AT = 8
"""Answers of a registry that may show its kind: the first may be a proxy's, and not every answer has a mark."""
_SERVER_ERRORS = 500


class RegistryHealth:
    """Carries out the decisions of the breakers.

    `probe(registry)` raises `SyncError` where a registry does not answer. `on_outage` is called when a registry is back
    after an outage, or is given up.
    """

    def __init__(
        self,
        breakers: Breakers,
        probe: Callable[[str], Awaitable[None]],
        *,
        on_outage: Callable[[Breaker], None] = lambda _breaker: None,
    ) -> None:
        self.breakers = breakers
        self._probe = probe
        self._on_outage = on_outage
        self._loop = asyncio.get_running_loop()
        self._settled: dict[str, asyncio.Future[None]] = {}
        self._probing: set[asyncio.Task[None]] = set()
        breakers.listen(self._on_change)

    def is_suspect(self, registry: str, error: SyncError, tries: Tries, now: float) -> bool:
        """Return whether an operation that has used up its `tries`, the last by `error`, waits before it fails."""
        failed_at = now if tries.failed_at is None else tries.failed_at
        return self.breakers.exhausted(registry, error, failed_at, now)

    async def settled(self, registry: str) -> None:
        """Wait until `registry` is back or given up; return at once where it is not down."""
        while (settled := self._settled.get(registry)) is not None:
            await asyncio.shield(settled)

    async def wait(self, registry: str, tries: Tries | None, suspect: SyncError | None = None) -> Tries | None:
        """Wait as `settled` does, and return the tries that count for the request afterwards.

        After an outage they are none. Without one, raises `suspect`, the error by which the operation used up its
        tries. Raises RegistryDownError where the registry is given up.
        """
        await self.settled(registry)
        breaker = self.breakers.of(registry)
        if breaker.state is BreakerState.GIVEN_UP:
            raise breaker.down_error()
        if breaker.probes and (suspect is None or tries is None or tries.outages < MOST_OUTAGES):
            return tries.anew() if tries is not None else None
        if suspect is not None:
            raise suspect
        return tries

    def outages(self) -> list[tuple[str, float]]:
        """Return the registries that are down, each with the seconds since its failure."""
        now = self._loop.time()
        return [(registry, now - self.breakers.of(registry).failed_at) for registry in self._settled]

    async def close(self) -> None:
        """Stop all probes."""
        for task in list(self._probing):
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)

    def _on_change(self, breaker: Breaker) -> None:
        registry = breaker.registry
        if breaker.state is BreakerState.OPEN:
            settled = self._settled[registry] = self._loop.create_future()
            breaker.since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            task = self._loop.create_task(self._ask(breaker, settled))
            self._probing.add(task)
            task.add_done_callback(self._probing.discard)
            return
        if breaker.probes:
            self._on_outage(breaker)
        self._settled.pop(registry).set_result(None)

    async def _ask(self, breaker: Breaker, settled: asyncio.Future[None]) -> None:
        while True:
            await asyncio.sleep(max(0.0, breaker.probe_at - self._loop.time()))
            if settled.done():  # an answer to another request may have closed the breaker, which is open again
                return
            breaker.probed()
            try:
                allowed_s = max(LEAST_PROBE_S, breaker.gives_up_at - self._loop.time())
                await asyncio.wait_for(self._probe(breaker.registry), allowed_s)
            except asyncio.TimeoutError:
                last = breaker.last  # it says more than a timeout
                error: SyncError = last or TransportError("it does not answer", phase="timeout")
            except SyncError as failure:
                error = failure
            else:
                self.breakers.answered(breaker.registry, self._loop.time(), probe=True)
                return
            if settled.done():
                return
            self.breakers.probe_failed(breaker.registry, error, self._loop.time())
            if settled.done():
                return


def endpoints_of(registry: str, settings: HostSettings, reach: Reach) -> tuple[Endpoint, ...]:
    """Return the endpoints of `registry` in the order of trial, with the settings of user and system.

    Raises ConfigurationError as `Reach.complete` does.
    """
    candidates = candidate_endpoints(
        registry,
        insecure=settings.insecure,
        skip_tls_verify=settings.skip_tls_verify,
        ca_file=settings.ca_file,
        network=reach.complete(registry, settings.network, ca_file=settings.ca_file),
        profile=settings.profile,
    )
    return tuple(replace(each, pieces_above=settings.pieces_above, redirects=settings.redirects) for each in candidates)


class EndpointBook:
    """Resolves each registry once for a run.

    One candidate needs no request. With `insecure: true` a connection without a request is tried
    (CURLOPT_CONNECT_ONLY): if the TLS handshake succeeds, the endpoint is HTTPS without verification, otherwise plain
    HTTP. The result is kept for the host; without one, `retry` says when to try again. `chance` returns a uniform
    number in [0, 1). With `health`, requests wait for registries that are down. `reach` completes their networks. The
    kind of a registry comes from its name or the user, or else from its first answers.
    """

    def __init__(
        self,
        transport: Transport,
        registries: RegistryBook,
        *,
        retry: RetryPolicy,
        chance: Callable[[], float],
        health: RegistryHealth | None = None,
        reach: Reach | None = None,
    ) -> None:
        self._reach = reach or Reach(os.environ)
        self._transport = transport
        self._registries = registries
        self._retry = retry
        self._chance = chance
        self._health = health
        self._searches: dict[str, asyncio.Task[Endpoint]] = {}
        self._known: dict[str, Endpoint] = {}
        self.data: dict[str, EndpointData] = {}
        """The known endpoints by registry, as messages carry them (`Endpoint.to_data`)."""
        self._looked_at: dict[str, int] = {}
        transport.on_answer = self._look_at

    def known(self, registry: str) -> Endpoint | None:
        """Return the endpoint of `registry`; None before it is resolved."""
        return self._known.get(registry)

    async def find_once(self, registry: str) -> Endpoint:
        """Return the endpoint of a registry that is not essential: try its candidates once, and wait for no outage.

        Raises `SyncError` where none of them answers.
        """
        known = self.known(registry)
        if known is None:
            known = await self._probe(registry, Origin.SOURCE)
            self._remember(known)
        return known

    async def resolve(self, registry: str, origin: Origin) -> Endpoint:
        """Return the endpoint of `registry`; raises TransportError where none of its candidates answers."""
        known = self.known(registry)
        if known is not None:
            return known
        task = self._searches.get(registry)
        if task is None:
            task = self._searches[registry] = share(self._find(registry, origin))
        try:
            return await shared_result(task)
        except SyncError as error:
            if self._searches.get(registry) is task:
                del self._searches[registry]  # the next caller tries again
            raise error.changed(origin=origin) from error.__cause__

    def _look_at(self, request: Request, endpoint: Endpoint, response: Response) -> None:
        """Recognise the kind of a registry by one of its first answers, where it is still unknown."""
        registry = endpoint.registry
        looked_at = self._looked_at.get(registry, 0)
        own = may_carry_credentials(endpoint.base_url, response.url or request.url)
        if looked_at >= ANSWERS_LOOKED_AT or not own or self._registries.host_settings(registry).profile is not None:
            return
        if response.status < _SERVER_ERRORS:  # a proxy may report an outage any number of times
            self._looked_at[registry] = looked_at + 1
        profile, known = recognise_answer(response.headers), self.known(registry)
        if profile is not GENERIC and known is not None and known.profile is GENERIC:
            self._looked_at[registry] = ANSWERS_LOOKED_AT
            self._remember(replace(known, profile=profile))

    def _remember(self, endpoint: Endpoint) -> None:
        self._known[endpoint.registry] = endpoint
        self.data[endpoint.registry] = endpoint.to_data()

    async def ping(self, registry: str) -> None:
        """Send one ping to `registry`. Raises `SyncError` unless it answers with a status below 500."""
        endpoint = self.known(registry) or await self._probe(registry, Origin.LOCAL)
        request = build_ping(endpoint)
        response = await self._transport.perform(request, endpoint)
        if response.status >= _SERVER_ERRORS:
            raise parse_failure(response, request=request, origin=Origin.LOCAL, profile=endpoint.profile)

    async def _find(self, registry: str, origin: Origin) -> Endpoint:
        loop = asyncio.get_running_loop()
        tries, health = Tries(loop.time()), self._health
        suspect: SyncError | None = None
        while True:
            try:
                if health is not None and health.breakers.is_held(registry):
                    tries = await health.wait(registry, tries, suspect) or tries
                    suspect = None
                found = await self._probe(registry, origin)
                settings = self._registries.host_settings(registry)
                if health is not None and settings.insecure:
                    health.breakers.answered(registry, loop.time())
            except RegistryDownError:
                raise
            except SyncError as error:
                if error is suspect:
                    raise
                now = loop.time()
                held = health is not None and health.breakers.failed(registry, error, now)
                pause = self._retry.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause, counts=not held)
                if held:
                    continue
                if pause is None:
                    last = tries.write_on(error)
                    if health is not None and health.is_suspect(registry, last, tries, now):
                        suspect = last
                        continue
                    raise last from error.__cause__
            else:
                if registry not in self._known:  # else `find_once` was quicker, and answers may have shown the profile
                    self._remember(found)
                return found
            await asyncio.sleep(pause)

    async def _probe(self, registry: str, origin: Origin) -> Endpoint:
        candidates = endpoints_of(registry, self._registries.host_settings(registry), self._reach)
        for candidate in candidates[:-1]:
            code, _words = await self._connect(candidate)
            if code == 0:
                return candidate
        if len(candidates) > 1:
            code, words = await self._connect(candidates[-1])
            if code:
                raise transport_error(code, words, build_ping(candidates[-1]), origin, candidates[-1].network)
        return candidates[-1]

    async def _connect(self, endpoint: Endpoint) -> tuple[int, str]:
        easy = pycurl.Curl()
        try:
            url, transport = build_ping(endpoint).url, self._transport
            set_connection(easy, endpoint, url, connect_timeout_s=transport.timeouts.connect_s)
            easy.setopt(pycurl.CONNECT_ONLY, 1)
            return await transport.driver.perform(easy)
        finally:
            easy.close()
