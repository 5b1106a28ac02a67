"""How a run reaches registries: libcurl, tokens, endpoints and patience, put together once for all who ask."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from image_syncer.coordinator.credential_lookup import CredentialLookup
from image_syncer.net import (
    CurlDriver,
    EndpointBook,
    RegistryClient,
    RegistryHealth,
    Throttle,
    Timeouts,
    TokenBroker,
    Transport,
)
from image_syncer.planning import Breakers, BreakerState, split_connections
from image_syncer.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import RegistryBook, Settings
    from image_syncer.credentials import CredentialSource
    from image_syncer.planning import Breaker, RetryPolicies

__all__ = ["RegistryAccess"]


class RegistryAccess:
    """The `client` and what stands behind it, for one run. `on_pause(registry, seconds)` is called when a registry asks
    to be left alone, `on_outage(breaker)` when one is back that was down, or is given up.
    """

    def __init__(
        self,
        settings: Settings,
        registries: RegistryBook,
        source: CredentialSource,
        policies: RetryPolicies,
        *,
        connections: int,
        on_pause: Callable[[str, float], None],
        on_outage: Callable[[Breaker], None],
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
            retry=policies.read,
            write_retry=policies.write,
            chance=random.random,
            on_pause=on_pause,
            limit_of=lambda registry: split_connections(registries.host_settings(registry).max_connections)[0],
            health=self.health,
        )
        self.endpoints = EndpointBook(
            self.transport, registries, retry=policies.read, chance=random.random, health=self.health
        )

    async def _wait_for_turn(self, registry: str) -> None:
        await self.client.throttle.wait_for_turn(registry, self._longest_wait_s)

    def is_awaited(self, now: float) -> bool:
        """Whether a registry that is down, or asked to be left alone, is to be asked again at a time that is known."""
        return bool(self.health.outages()) or self.client.throttle.longest(now) is not None

    def holds_back(self, registry: str, now: float) -> bool:
        """Whether requests to `registry` have to wait, for whatever reason."""
        return self.health.breakers.is_held(registry) or self.client.holds_back(registry, now)

    def waiting(self, now: float) -> str | None:
        """For which registry there is a wait, in words."""
        for registry, seconds in self.health.outages():
            return f"{registry} has not answered for {format_duration(seconds)}"
        if longest := self.client.throttle.longest(now):
            return f"{longest[0]} asked to be left alone for {format_duration(longest[1])}"
        return None

    def tell_outage(self, breaker: Breaker) -> tuple[str, bool]:
        """What is said of an outage, and whether the registry was given up."""
        if breaker.state is BreakerState.GIVEN_UP:
            return breaker.down_error().message, True
        seconds = format_duration(self._loop.time() - breaker.failed_at)
        return f"the registry {breaker.registry} was down for {seconds}, since {breaker.since}", False
