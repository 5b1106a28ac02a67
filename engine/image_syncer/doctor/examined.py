"""The registry that is examined, the engine's own means to talk to it, and what has been learnt so far."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from image_syncer.coordinator.credential_lookup import CredentialLookup
from image_syncer.credentials import CredentialSource
from image_syncer.doctor.kinds import find_mark
from image_syncer.errors import Origin
from image_syncer.net import CurlDriver, Reach, RegistryClient, Throttle, Timeouts, TokenBroker, Transport, endpoints_of
from image_syncer.oci import Repository
from image_syncer.planning import ONCE
from image_syncer.registry import GENERIC, may_carry_credentials, parse_failure, recognise_answer
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Collection

    from image_syncer.config import RegistryBook, Settings
    from image_syncer.doctor.connection import Connection
    from image_syncer.errors import RegistryError
    from image_syncer.net import Authorization
    from image_syncer.oci import Manifest
    from image_syncer.registry import Challenge, Endpoint, Profile, Request, Response

__all__ = ["Learnt", "Subject"]


SIDE = Origin.LOCAL
"""A registry that is examined is neither source nor destination."""


class Learnt(Struct):
    """What the probes found out, for those that come after them."""

    connection: Connection | None = None
    addresses: list[tuple[str, int]] = field(default_factory=list)
    ping: Response | None = None
    asked_at_epoch_s: float = 0.0
    challenge: Challenge | None = None
    authorization: Authorization | None = None
    tags: tuple[str, ...] = ()
    manifest: Manifest | None = None
    head: Response | None = None
    recognised_by: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """By the names of what profiles say of registries, as far as there is such a name."""


class Subject:
    """One registry, or one repository of it (`name`), perhaps with the `target` (tag or digest) to look at.

    Every request goes out once: what a run would try again is what is to be seen here.
    """

    def __init__(
        self,
        registry: str,
        name: str | None,
        target: str | None,
        registries: RegistryBook,
        settings: Settings,
        *,
        write: bool,
    ) -> None:
        self.registry = registry
        self.repository = Repository(registry, name) if name else None
        self.target = target
        self.write = write
        self.learnt = Learnt()
        self.settings = settings
        self.registries = registries
        self.candidates = endpoints_of(registry, registries.host_settings(registry), Reach(os.environ))
        self.endpoint: Endpoint = self.candidates[0]
        self.driver = CurlDriver()
        timeouts = Timeouts(
            connect_s=settings.connect_timeout_s,
            stall_s=settings.stall_timeout_s,
            request_s=settings.answer_timeout_s,
        )
        self.transport = Transport(self.driver, timeouts)
        self.transport.on_answer = self._look_at
        self._source = CredentialSource(os.environ)
        self.credentials = CredentialLookup(self._source, registries)
        self.broker = TokenBroker(self.transport, self.credentials)
        self.client = RegistryClient(
            self.transport, self.broker, Throttle(), retry=ONCE, chance=random.random, patience_s=0.0
        )

    @property
    def profile(self) -> Profile:
        """What kind of registry it is taken for, by its name, by what the user says, or by its answers."""
        return self.endpoint.profile

    def _look_at(self, request: Request, endpoint: Endpoint, response: Response) -> None:
        """Recognise a registry by its answer, as a run does where the name does not tell."""
        own = may_carry_credentials(endpoint.base_url, response.url or request.url)
        unknown = self.endpoint.profile is GENERIC and self.registries.host_settings(self.registry).profile is None
        if own and unknown:
            found = recognise_answer(response.headers)
            if found is not GENERIC:
                self.endpoint = replace(self.endpoint, profile=found)
                self.learnt.recognised_by = find_mark(found, response.headers)

    @property
    def place(self) -> Repository:
        """What credentials are looked up for: the repository, or the registry as a whole."""
        return self.repository or Repository(self.registry, "")

    @property
    def is_on_loopback(self) -> bool:
        """Whether nothing leaves this machine, as far as is known."""
        found = self.learnt.addresses
        return bool(found) and all(address.startswith("127.") or address == "::1" for address, _ in found)

    async def exchange(self, request: Request) -> Response:
        """The answer to `request`, whatever it is, sent as a run sends it, but once."""
        return await self.client.exchange(request, self.endpoint, origin=SIDE)

    async def ask(self, request: Request, accept: Collection[int] = (200,)) -> Response:
        """The same, if its status is one of `accept`; raises the error that another stands for."""
        response = await self.exchange(request)
        if response.status not in accept:
            raise self.failure(response, request)
        return response

    def failure(self, response: Response, request: Request) -> RegistryError:
        """The error that an unwanted answer stands for."""
        profile = self.endpoint.profile
        return parse_failure(response, request=request, origin=SIDE, now_epoch_s=time.time(), profile=profile)

    async def close(self) -> None:
        """End what is under way. Nobody waits for a helper program or a name server that does not answer."""
        self._source.close()
        self.driver.close()
        await asyncio.sleep(0)
