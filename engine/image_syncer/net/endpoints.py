"""Where each registry is spoken to: HTTPS, or, where the user allowed it (`insecure: true`), whatever answers first."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import Origin, RegistryDownError, SyncError
from image_syncer.net.curl_errors import transport_error
from image_syncer.net.handles import AnswerHead, set_request
from image_syncer.net.reach import Reach
from image_syncer.net.shared_work import share, shared_result
from image_syncer.planning import Tries
from image_syncer.registry import (
    GENERIC,
    build_ping,
    candidate_endpoints,
    may_carry_credentials,
    parse_failure,
    recognise_answer,
)
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import HostSettings, RegistryBook
    from image_syncer.net.health import RegistryHealth
    from image_syncer.net.transport import Transport
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["EndpointBook", "endpoints_of"]

ANSWERS_LOOKED_AT = 8
"""Of each registry: the first may be that of a proxy, and only a challenge or a body with a header may tell."""
_SERVER_ERRORS = 500


def endpoints_of(registry: str, settings: HostSettings, reach: Reach) -> tuple[Endpoint, ...]:
    """The addresses of `registry` in the order of trial, with all that the user and the system have said of it. Raises
    ConfigurationError as `Reach.complete` does.
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

    With one candidate nothing is asked. With `insecure: true` a connection is made without a request
    (CURLOPT_CONNECT_ONLY): where the TLS handshake succeeds, HTTPS without verification it is, otherwise plain HTTP.
    What worked is remembered for the host; where nothing does, it is tried again as `retry` says.
    `chance` gives a uniform number in [0, 1). With `health`, registries that are down are waited for. `reach`
    completes what was written of their networks; without it, this process's environment and system do. What kind of
    registry it is, is known by its name or what the user says, or else recognised by its first answers.
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
        self._resolved: dict[str, asyncio.Future[Endpoint]] = {}
        self._looked_at: dict[str, int] = {}
        transport.on_answer = self._look_at

    def known(self, registry: str) -> Endpoint | None:
        """The endpoint of `registry`, if it has been resolved."""
        task = self._resolved.get(registry)
        return task.result() if task is not None and task.done() and task.exception() is None else None

    async def find_once(self, registry: str) -> Endpoint:
        """The same for a registry without which one can do: its candidates are tried once, and no outage is waited
        for. Raises `SyncError` where none of them answers.
        """
        known = self.known(registry)
        if known is None:
            known = await self._probe(registry, Origin.SOURCE)
            found = self._resolved[registry] = asyncio.get_running_loop().create_future()
            found.set_result(known)
        return known

    async def resolve(self, registry: str, origin: Origin) -> Endpoint:
        """The endpoint of `registry`; raises TransportError where none of its candidates answers."""
        known = self.known(registry)
        if known is not None:
            return known
        task = self._resolved.get(registry)
        if task is None:
            task = self._resolved[registry] = share(self._find(registry, origin))
        try:
            return await shared_result(task)
        except SyncError as error:
            if self._resolved.get(registry) is task:
                del self._resolved[registry]  # the next one tries again
            error.origin = origin
            raise

    def _look_at(self, request: Request, endpoint: Endpoint, response: Response) -> None:
        """Recognise the kind of a registry by one of its first answers, where its name does not tell."""
        registry = endpoint.registry
        looked_at = self._looked_at.get(registry, 0)
        own = may_carry_credentials(endpoint.base_url, response.url or request.url)
        if looked_at >= ANSWERS_LOOKED_AT or not own or self._registries.host_settings(registry).profile is not None:
            return
        if response.status < _SERVER_ERRORS:  # else a proxy says that it is down, as often as it is asked meanwhile
            self._looked_at[registry] = looked_at + 1
        profile, known = recognise_answer(response.headers), self.known(registry)
        if profile is not GENERIC and known is not None and known.profile is GENERIC:
            self._looked_at[registry] = ANSWERS_LOOKED_AT
            found = self._resolved[registry] = asyncio.get_running_loop().create_future()
            found.set_result(replace(known, profile=profile))

    async def ping(self, registry: str) -> None:
        """Ask `registry`, once, whether it is there: any answer below 500 says so. Raises `SyncError` otherwise."""
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
                    tries.write_on(error)
                    if health is not None and health.is_suspect(registry, error, tries, now):
                        suspect = error
                        continue
                    raise
            else:
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
        easy = self._transport.handles.take()
        try:
            set_request(
                easy,
                build_ping(endpoint),
                endpoint,
                AnswerHead(),
                authorization=None,
                connect_timeout_s=self._transport.timeouts.connect_s,
            )
            easy.setopt(pycurl.CONNECT_ONLY, 1)
            return await self._transport.driver.perform(easy)
        finally:
            self._transport.handles.give_back(easy)
