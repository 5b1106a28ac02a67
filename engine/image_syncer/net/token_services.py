"""Token services: asked with patience, and in the form that each of them takes.

The usual form is a GET with Basic (Docker Registry v2 authentication, "Token Authentication Specification"); an
identity token is exchanged with a POST ("OAuth2 Token Authentication"), and so is a password where a GET finds nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import AuthenticationError, Origin, ProtocolViolation, RegistryError, SyncError, keep_out
from image_syncer.planning import ONCE, Tries
from image_syncer.registry import (
    REDIRECT_STATUSES,
    build_token_request,
    follow_redirect,
    may_carry_credentials,
    parse_failure,
    parse_token,
    realm_allowed,
)
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.net.transport import Transport
    from image_syncer.oci import Repository
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Challenge, Credential, Endpoint, Request, Response, Scope, Token

__all__ = ["TokenServices", "leads_nowhere"]

_Identity = tuple[str, "Credential"]
"""A realm, and the credential with the identity token that is exchanged there."""
_OK = 200
_NOT_IN_THIS_FORM = (404, 405, 501)
"""Not found, method not allowed, not implemented: what a service answers that is there in the other form only."""


def leads_nowhere(error: SyncError) -> bool:
    """Whether a challenge cannot be answered, whoever we are: no token service is there, it gives no tokens, or it must
    not see the credentials. Another challenge of the registry may be answered instead.
    """
    if isinstance(error, ProtocolViolation):
        return True
    return isinstance(error, RegistryError) and (error.status in _NOT_IN_THIS_FORM or error.status is None)


class TokenServices:
    """`retry` says how a request is tried again, and `chance` gives a uniform number in [0, 1). A service that was
    tried in vain to the end is asked once for each further token, until it answers. `wait_for_turn(registry)` is asked
    before each request that goes to the registry's own host.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        retry: RetryPolicy,
        chance: Callable[[], float],
        wait_for_turn: Callable[[str], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._retry = retry
        self._chance = chance
        self._wait_for_turn = wait_for_turn
        self._loop = asyncio.get_running_loop()
        self._silent: set[str] = set()
        self._want_post: set[str] = set()
        self._refreshed: dict[_Identity, Credential] = {}
        self._lasting: set[_Identity] = set()
        """Identity tokens that an exchange does not use up."""
        self._exchanging: dict[_Identity, asyncio.Lock] = {}

    async def fetch(
        self,
        challenge: Challenge,
        scopes: tuple[Scope, ...],
        credential: Credential | None,
        repository: Repository | None,
        endpoint: Endpoint,
    ) -> tuple[Token, float]:
        """A token, and when the request for it went out. Raises AuthenticationError and other `SyncError`s."""
        realm = challenge.params.get("realm", "")
        if credential is not None and not realm_allowed(realm, endpoint):
            raise AuthenticationError(
                f"the registry {endpoint.registry} sends us for a token to {realm}, which is not encrypted; "
                "the credentials were not sent",
                hint="If the registry itself may be spoken to in plain HTTP, set insecure: true for it.",
            )

        def build(how: Credential | None, *, password_grant: bool = False) -> Request:
            return build_token_request(challenge, scopes, how, password_grant=password_grant, repository=repository)

        if credential is None:
            return await self._ask(build(None), endpoint, realm)
        if credential.identity_token:
            return await self._exchange(credential, realm, build, endpoint)
        if realm in self._want_post:
            return await self._ask(build(credential, password_grant=True), endpoint, realm)
        try:
            return await self._ask(build(credential), endpoint, realm)
        except RegistryError as error:
            if error.status not in _NOT_IN_THIS_FORM:
                raise
            got = await self._ask_otherwise(build(credential, password_grant=True), endpoint, realm, error)
            self._want_post.add(realm)
            return got

    async def _exchange(
        self, credential: Credential, realm: str, build: Callable[[Credential], Request], endpoint: Endpoint
    ) -> tuple[Token, float]:
        """A token for an identity token. Some services take each of these once, and give the next with the answer:
        until it is known that this one does not, there is one exchange at a time.
        """
        key = (realm, credential)
        if key not in self._lasting:
            async with self._exchanging.setdefault(key, asyncio.Lock()):
                if key not in self._lasting:
                    return await self._exchange_once(key, build, endpoint)
        return await self._exchange_once(key, build, endpoint)

    async def _exchange_once(
        self, key: _Identity, build: Callable[[Credential], Request], endpoint: Endpoint
    ) -> tuple[Token, float]:
        realm, credential = key
        newest = self._refreshed.get(key, credential)
        try:
            got = await self._ask(build(newest), endpoint, realm)
        except AuthenticationError:
            if newest is credential:
                raise
            self._refreshed.pop(key, None)  # it has ended, and what it was given for need not have
            got = await self._ask(build(credential), endpoint, realm)
        except RegistryError as error:
            if error.status not in _NOT_IN_THIS_FORM or not credential.password:
                raise
            got = await self._ask_otherwise(build(replace(credential, identity_token=None)), endpoint, realm, error)
        refreshed = got[0].refresh_token
        keep_out(refreshed)
        if refreshed in (None, newest.identity_token):
            self._lasting.add(key)
        else:
            self._lasting.discard(key)
            self._refreshed[key] = replace(credential, identity_token=refreshed)
        return got

    async def _ask_otherwise(
        self, request: Request, endpoint: Endpoint, realm: str, first: RegistryError
    ) -> tuple[Token, float]:
        try:
            return await self._ask(request, endpoint, realm)
        except RegistryError as error:
            if error.status in _NOT_IN_THIS_FORM:
                raise first from error  # the usual form is what people know
            raise

    async def _ask(self, request: Request, endpoint: Endpoint, realm: str) -> tuple[Token, float]:
        tries = Tries(self._loop.time())
        while True:
            if may_carry_credentials(endpoint.base_url, request.url):
                await self._wait_for_turn(endpoint.registry)
            asked_at = self._loop.time()
            try:
                response = await self._follow(request, endpoint)
                if response.status != _OK:
                    raise _refusal(response, request, endpoint)
                token = parse_token(response, scopes=request.scopes)
            except SyncError as error:
                now = self._loop.time()
                policy = ONCE if realm in self._silent else self._retry
                pause = policy.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause)
                if pause is None:
                    if error.retryable:
                        self._silent.add(realm)
                        error.retryable = False  # or everyone who needs the token would begin from the beginning
                        error.hint = f"This is the token service of {endpoint.registry}: check that it runs."
                    tries.write_on(error)
                    raise
            else:
                self._silent.discard(realm)
                return token, asked_at
            await asyncio.sleep(pause)

    async def _follow(self, request: Request, endpoint: Endpoint) -> Response:
        """The answer, after redirects of a GET. The password goes no further than to the same scheme, host and port."""
        response, hop, followed = await self._transport.perform(request, endpoint), request, 0
        while request.method == "GET" and response.status in REDIRECT_STATUSES:
            before, hop = hop, follow_redirect(hop, response, followed=followed)
            if not may_carry_credentials(before.url, hop.url):
                hop = hop._replace(headers=())
            followed += 1
            response = await self._transport.perform(hop, endpoint)
        return response


def _refusal(response: Response, request: Request, endpoint: Endpoint) -> RegistryError:
    failure = parse_failure(response, request=request, origin=Origin.LOCAL, profile=endpoint.profile)
    if response.status in (401, 403) and failure.hint is None:
        failure.hint = f"Check the user name and the password for {endpoint.registry}."
    return failure
