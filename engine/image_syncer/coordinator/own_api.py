"""Requests to what a registry has beside `/v2/`: by Basic, or as nobody, whatever its challenge is; so they do not go
through the client's tokens.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import SyncError
from image_syncer.planning import Tries
from image_syncer.registry import basic_authorization, may_carry_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from image_syncer.coordinator.credential_lookup import CredentialLookup
    from image_syncer.errors import Origin
    from image_syncer.net import RegistryClient
    from image_syncer.oci import Repository
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["OwnApi"]


class OwnApi:
    """`lookup` finds the credential of a repository; `retry` says how a registry is asked again, and `chance` gives a
    uniform number in [0, 1).
    """

    def __init__(
        self,
        client: RegistryClient,
        lookup: CredentialLookup,
        *,
        retry: RetryPolicy,
        chance: Callable[[], float],
    ) -> None:
        self._client = client
        self._lookup = lookup
        self._retry = retry
        self._chance = chance
        self._loop = asyncio.get_running_loop()

    async def password_of(self, repository: Repository) -> str | None:
        """The Authorization header by Basic for `repository`; None where there is no password for it."""
        credential = (await self._lookup.find(repository)).credential
        return basic_authorization(credential) if credential is not None and credential.password else None

    async def token_of(self, repository: Repository) -> str | None:
        """The same as a Bearer, for an API that takes an access token of which the password is one."""
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
        """The answer, if its status is one of `accept`; otherwise the error that it stands for, after all tries.

        `authorization` is for the registry, or for what is at `owed_to` (scheme, host and port); it stays here where
        the request goes elsewhere.
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
                pause = self._retry.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause)
                if pause is None:
                    tries.write_on(error)
                    error.located(operation=request.operation.value)
                    raise
            await asyncio.sleep(pause)
