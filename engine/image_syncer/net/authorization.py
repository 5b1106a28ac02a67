"""Who we are to a registry: challenges remembered, tokens fetched once for all who need them, renewed before they
expire.

`Authorizer` is the door: the coordinator stands behind it with `TokenBroker`, a worker with messages to the
coordinator. Nothing is asked in advance: the first request to a registry goes out alone and without credentials, and
its 401 carries the challenge (Docker token authentication; OCI distribution specification 1.1, "Determining
support").
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from image_syncer.errors import AuthenticationError, Origin, RegistryError, SyncError
from image_syncer.planning import ONCE, Tries
from image_syncer.registry import (
    Challenge,
    basic_authorization,
    build_ping,
    build_token_request,
    may_carry_credentials,
    parse_challenges,
    parse_failure,
    parse_token,
    preferred_challenge,
    realm_allowed,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from image_syncer.net.transport import Transport
    from image_syncer.oci import Repository
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Credential, Endpoint, Request, Response, Scope, Token

__all__ = ["Authorization", "Authorizer", "TokenBroker"]

USABLE_PART = 0.8
"""A token is renewed when this part of its life is over: never a fixed margin, since some live for less than a
minute.
"""
FRESH_S = 5.0
"""Between two renewals of one token because it was refused: the first may have been revoked; where the second is
refused so soon too, rights are missing.
"""
FRESH_INVALID_S = 1.0
"""The same where the registry calls the token invalid (RFC 6750, section 3.1), which one that lacks rights is not: the
token may end sooner than its service says.
"""
UNENDING_S = 3600.0
"""How long a worker may keep what does not expire by itself (Basic, or nothing at all) before it asks again."""
MOST_GIVEN = 4096
"""Of a catalog's repositories so many are remembered with what they were given; then it is looked up anew."""
_OK = 200


@dataclass(frozen=True)
class Authorization:
    """A value for the Authorization header (None: nothing is owed), usable for `usable_s` seconds from now."""

    value: str | None = field(repr=False)
    usable_s: float


class Authorizer(Protocol):
    """Gives each request what it needs to be let in."""

    def known(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization | None:
        """What `authorize` would say, where nothing has to be waited for or asked (None: it has to be called).

        Nearly every request is answered here, without a coroutine of its own. `usable_s` counts from when this was
        first given.
        """

    async def authorize(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization:
        """What to send; may wait for another request's answer. Raises AuthenticationError and other `SyncError`s."""

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: tuple[Scope, ...],
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """What to send after a 401 with these `WWW-Authenticate` fields; raises AuthenticationError where there is
        nothing better.
        """

    def answered(self, endpoint: Endpoint) -> None:
        """The registry let a request in, or failed it for another reason than who we are."""

    def abandoned(self, endpoint: Endpoint) -> None:
        """A request got no answer at all, or none to what its 401 made us ask."""


@dataclass
class _RegistryState:
    challenge: Challenge | None = None
    known: asyncio.Event = field(default_factory=asyncio.Event)
    scouting: bool = False
    pinged: bool = False


@dataclass
class _Kept:
    authorization: Authorization
    until: float


async def _at_once(_registry: str) -> None:
    """Nobody is paced."""


_Key = tuple[str, "Credential | None", tuple["Scope", ...]]
_Place = tuple[str, "Repository | None", tuple["Scope", ...]]
_NOTHING_OWED = Authorization(None, UNENDING_S)


class TokenBroker:
    """The coordinator's `Authorizer`: one for each run.

    `credential_for` finds the credential of a repository, and says where it comes from. One token request goes out for
    one set of scopes, however many wait for it; `retry` says how it is tried again, and `chance` gives a uniform number
    in [0, 1). A token service that was tried in vain to the end is asked once for each further token, until it answers.
    `wait_for_turn(registry)` is asked before each request that goes to the registry's own host.
    """

    def __init__(
        self,
        transport: Transport,
        credential_for: Callable[[Repository], Awaitable[tuple[Credential | None, str]]],
        *,
        retry: RetryPolicy = ONCE,
        chance: Callable[[], float] = lambda: 0.0,
        wait_for_turn: Callable[[str], Awaitable[None]] = _at_once,
    ) -> None:
        self._transport = transport
        self._credential_for = credential_for
        self._retry = retry
        self._chance = chance
        self._wait_for_turn = wait_for_turn
        self._silent: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._registries: dict[str, _RegistryState] = {}
        self._kept: dict[_Key, _Kept] = {}
        self._renewed_at: dict[_Key, float] = {}
        self._fetching: dict[_Key, asyncio.Future[Authorization]] = {}
        self._given: dict[_Place, _Kept] = {}

    def known(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization | None:
        """See `Authorizer`."""
        state = self._registries.get(endpoint.registry)
        if state is None or not state.known.is_set():
            return None
        if state.challenge is None:
            return _NOTHING_OWED
        given = self._given.get((endpoint.registry, repository, scopes))
        return given.authorization if given is not None and given.until > self._loop.time() else None

    async def authorize(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization:
        """See `Authorizer`. The first caller for a registry is let through with nothing; the others wait for its
        answer.
        """
        state = self._state(endpoint)
        while not state.known.is_set():
            if not state.scouting:
                state.scouting = True
                return Authorization(None, 0.0)
            await state.known.wait()
        given = await self._current(state, endpoint, repository, scopes)
        if len(self._given) >= MOST_GIVEN:
            self._given.clear()
        self._given[endpoint.registry, repository, scopes] = _Kept(given, self._loop.time() + given.usable_s)
        return given

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: tuple[Scope, ...],
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """See `Authorizer`."""
        state = self._state(endpoint)
        challenge = preferred_challenge(parse_challenges(challenges)) or state.challenge or await self._ping(endpoint)
        if challenge is None:
            self.answered(endpoint)
            raise AuthenticationError(
                "the registry answered 401 and did not say how to authenticate",
                repository=str(repository) if repository else None,
                status=401,
            )
        state.challenge = challenge
        self._given.clear()
        state.known.set()
        current = await self._current(state, endpoint, repository, scopes)
        if current.value != rejected:
            return current  # somebody else has renewed it meanwhile, or there was none before
        key = await self._key(endpoint, repository, scopes)
        if key not in self._kept or not self._may_help(key, challenge):
            raise await self._denied(repository, challenge)  # another of the same would fare no better
        self._renewed_at[key] = self._loop.time()
        del self._kept[key]
        self._given.clear()  # what somebody was given while we looked
        return await self._current(state, endpoint, repository, scopes)

    def answered(self, endpoint: Endpoint) -> None:
        """See `Authorizer`."""
        state = self._state(endpoint)
        if not state.known.is_set():
            state.known.set()

    def abandoned(self, endpoint: Endpoint) -> None:
        """See `Authorizer`. Where it was the first, the next one tries."""
        state = self._state(endpoint)
        if not state.known.is_set():
            state.scouting = False
            waiting, state.known = state.known, asyncio.Event()
            waiting.set()

    def _may_help(self, key: _Key, challenge: Challenge) -> bool:
        """Whether another token may be taken where this one was refused."""
        error = challenge.params.get("error")
        if error == "insufficient_scope":
            return False
        fresh_s = FRESH_INVALID_S if error == "invalid_token" else FRESH_S
        renewed_at = self._renewed_at.get(key)
        return renewed_at is None or self._loop.time() - renewed_at >= fresh_s

    async def _ping(self, endpoint: Endpoint) -> Challenge | None:
        """The challenge of `/v2/`, asked for once: some registries (gcr.io) have sent a 401 without one elsewhere."""
        state = self._state(endpoint)
        if state.pinged:
            return None
        response = await self._transport.perform(build_ping(endpoint), endpoint)
        state.pinged = True
        return preferred_challenge(parse_challenges(response.headers.get_all("WWW-Authenticate")))

    def _state(self, endpoint: Endpoint) -> _RegistryState:
        state = self._registries.get(endpoint.registry)
        if state is None:
            state = self._registries[endpoint.registry] = _RegistryState()
        return state

    async def _key(self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]) -> _Key:
        credential, _ = await self._credential(repository)
        return (endpoint.registry, credential, scopes)

    async def _credential(self, repository: Repository | None) -> tuple[Credential | None, str]:
        return (None, "anonymous") if repository is None else await self._credential_for(repository)

    async def _current(
        self,
        state: _RegistryState,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: tuple[Scope, ...],
    ) -> Authorization:
        challenge = state.challenge
        if challenge is None:
            return _NOTHING_OWED
        credential, _ = await self._credential(repository)
        if challenge.scheme == "basic":
            # Without a credential the request goes out as it is: what was asked of another may be open to this one.
            return Authorization(basic_authorization(credential) if credential else None, UNENDING_S)
        key = await self._key(endpoint, repository, scopes)
        kept = self._kept.get(key)
        now = self._loop.time()
        if kept is not None and kept.until > now:
            return Authorization(kept.authorization.value, kept.until - now)
        return await self._fetch_once(key, endpoint, challenge, credential, repository)

    async def _fetch_once(
        self,
        key: _Key,
        endpoint: Endpoint,
        challenge: Challenge,
        credential: Credential | None,
        repository: Repository | None,
    ) -> Authorization:
        running = self._fetching.get(key)
        if running is None:
            running = asyncio.ensure_future(self._fetch(key, endpoint, challenge, credential, repository))
            self._fetching[key] = running
            running.add_done_callback(lambda _done: self._fetching.pop(key, None))
        try:
            return await asyncio.shield(running)
        except SyncError as error:
            # Every waiter gets an error of its own, since each fills in its own place and number of tries.
            raise error.copy() from error

    async def _fetch(
        self,
        key: _Key,
        endpoint: Endpoint,
        challenge: Challenge,
        credential: Credential | None,
        repository: Repository | None,
    ) -> Authorization:
        realm = challenge.params.get("realm", "")
        if credential is not None and not realm_allowed(realm, endpoint):
            raise AuthenticationError(
                f"the registry {endpoint.registry} sends us for a token to {realm}, which is not encrypted; "
                "the credentials were not sent",
                hint="If the registry itself may be spoken to in plain HTTP, set insecure: true for it.",
            )
        request = build_token_request(challenge, key[2], credential, repository=repository)
        token, asked_at = await self._ask(request, endpoint, realm)
        usable_s = token.expires_in_s * USABLE_PART
        authorization = Authorization(f"Bearer {token.value}", usable_s)
        self._kept[key] = _Kept(authorization, asked_at + usable_s)
        return authorization

    async def _ask(self, request: Request, endpoint: Endpoint, realm: str) -> tuple[Token, float]:
        """The token, and when the request for it went out."""
        tries = Tries(self._loop.time())
        while True:
            if may_carry_credentials(endpoint.base_url, request.url):
                await self._wait_for_turn(endpoint.registry)
            asked_at = self._loop.time()
            try:
                response = await self._transport.perform(request, endpoint)
                if response.status != _OK:
                    raise _token_refused(response, request, endpoint)
                token = parse_token(response)
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

    async def _denied(self, repository: Repository | None, challenge: Challenge) -> AuthenticationError:
        credential, source = await self._credential(repository)
        if credential is None:
            text = "the registry wants credentials, and there are none for it"
            hint = "Add a user name and a password for it to the auth file, or log in with `docker login`."
        elif challenge.params.get("error") == "insufficient_scope":
            text = f"the user {credential.username!r} may not do this here (insufficient scope)"
            hint = f"Ask for the right on this repository; the credentials came from {source}."
        else:
            text = f"the registry does not accept the user {credential.username!r} with its password"
            hint = f"Correct the password, or log in again; the credentials came from {source}."
        return AuthenticationError(text, repository=str(repository) if repository else None, hint=hint, status=401)


def _token_refused(response: Response, request: Request, endpoint: Endpoint) -> RegistryError:
    failure = parse_failure(response, request=request, origin=Origin.LOCAL, profile=endpoint.profile)
    if response.status in (401, 403) and failure.hint is None:
        failure.hint = f"Check the user name and the password for {endpoint.registry}."
    return failure
