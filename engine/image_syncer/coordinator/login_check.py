"""Whether a registry takes a user name and password, asked before they are kept."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from image_syncer.config import RegistryBook, Settings
from image_syncer.coordinator.loop import run_in_loop
from image_syncer.credentials import Found
from image_syncer.errors import AuthenticationError, Origin, keep_out
from image_syncer.net import (
    CurlDriver,
    EndpointBook,
    OneCredential,
    RegistryClient,
    Throttle,
    Timeouts,
    TokenBroker,
    Transport,
)
from image_syncer.planning import ONCE
from image_syncer.registry import Operation, build_ping

if TYPE_CHECKING:
    from image_syncer.credentials.login import LoginPlace
    from image_syncer.registry import Credential

__all__ = ["check_login"]

_OK = 200
_CONNECTIONS = 4


def check_login(
    place: LoginPlace,
    credential: Credential,
    *,
    registries: RegistryBook | None = None,
    settings: Settings | None = None,
) -> bool:
    """Ask the registry of `place` for `/v2/` as whoever has the credential, as docker does; False where it lets
    everybody in, so that the credential was not looked at.

    `registries` says how the host is reached. Raises AuthenticationError where the registry or its token service
    refuses, and other `SyncError`s where it cannot be asked.
    """
    keep_out(credential.password, credential.identity_token)
    return run_in_loop(_check(place.registry, credential, registries or RegistryBook(), settings or Settings()))


async def _check(registry: str, credential: Credential, registries: RegistryBook, settings: Settings) -> bool:
    driver = CurlDriver(connections=_CONNECTIONS)
    try:
        timeouts = Timeouts(connect_s=settings.connect_timeout_s, stall_s=settings.stall_timeout_s)
        transport = Transport(driver, timeouts)
        endpoint = await EndpointBook(transport, registries, retry=ONCE, chance=random.random).resolve(
            registry, Origin.LOCAL
        )
        broker = TokenBroker(transport, OneCredential(Found(credential, "this login")))
        client = RegistryClient(transport, broker, Throttle(), retry=ONCE, chance=random.random)
        request = build_ping(endpoint)
        try:
            response = await client.exchange(request, endpoint, origin=Origin.LOCAL)
            if response.status != _OK:
                raise client.failure(response, request, endpoint, Origin.LOCAL)
        except AuthenticationError as error:
            if error.status is not None:
                error.hint = f"Nothing was kept. Check the user name and the password for {registry}."
            raise
        return transport.requests[Operation.PING.value] > 1
    finally:
        driver.close()
