"""Tokens: fetched once for all requests that need them, renewed before they expire; and registries' challenges.

The first request to a registry is sent alone and without credentials; its 401 has the challenge (Docker token
authentication; OCI distribution specification 1.1, "Determining support"). Token services take a GET with Basic
("Token Authentication Specification"); an identity token is exchanged with a POST ("OAuth2 Token Authentication"), and
so is a password where a GET is not supported.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from image_syncer.errors import AuthenticationError, Origin, ProtocolViolation, RegistryError, SyncError, keep_out
from image_syncer.net.shared_work import share, shared_result
from image_syncer.registry import (
    REDIRECT_STATUSES,
    basic_authorization,
    build_ping,
    build_token_request,
    denial_hint,
    follow_redirect,
    may_carry_credentials,
    parse_challenges,
    parse_failure,
    parse_token,
    rank_challenges,
    realm_allowed,
)
from image_syncer.scheduling import ONCE, Tries
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from image_syncer.credentials import Found
    from image_syncer.net.transport import Transport
    from image_syncer.oci import Repository
    from image_syncer.registry import Challenge, Credential, Endpoint, Request, Response, Scope, Token
    from image_syncer.scheduling import RetryPolicy

    Scopes = tuple[Scope, ...]


USABLE_PART = 0.8
"""A token is renewed after this part of its life: a fixed margin would not fit tokens of less than a minute."""
FRESH_S = 5.0
"""A token that is refused again this soon after a renewal lacks rights; the first one may have been revoked."""
FRESH_INVALID_S = 1.0
"""The same for `invalid_token` (RFC 6750, section 3.1), which is not said for missing rights: a token may end early."""
UNENDING_S = 3600.0
"""How long a worker may keep what does not expire (Basic, or nothing at all) before it asks again."""
MOST_GIVEN = 4096
"""Authorizations of a catalog's repositories that are kept; then all are looked up anew."""
_OK = 200
_NOT_IN_THIS_FORM = (404, 405, 501)
"""Not found, method not allowed, not implemented: answers of a service that supports the other form only."""


class Authorization(Value, frozen=True):
    """A value for the Authorization header (None: none is needed), usable for `usable_s` seconds from now."""

    value: str | None
    usable_s: float

    __repr__ = repr_without("value")


class Authorizer(Protocol):
    """Provides the Authorization header of each request."""

    def known(self, endpoint: Endpoint, repository: Repository | None, scopes: Scopes) -> Authorization | None:
        """Return what `authorize` would, where it is known; None where `authorize` has to be called.

        Nearly every request is served here, without a coroutine of its own. `usable_s` counts from the first request.
        """

    async def authorize(self, endpoint: Endpoint, repository: Repository | None, scopes: Scopes) -> Authorization:
        """Return the header; may wait for another request's answer. Raises `SyncError`."""

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: Scopes,
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """Return a better header after a 401 with these `WWW-Authenticate` fields; raises AuthenticationError."""

    def answered(self, endpoint: Endpoint) -> None:
        """Note that the registry accepted a request, or failed it for another reason than its credentials."""

    def abandoned(self, endpoint: Endpoint) -> None:
        """Note that a request got no answer at all, or no token."""


class Credentials(Protocol):
    """User names and passwords by repository."""

    async def find(self, repository: Repository | None) -> Found:
        """Return the credential of a repository, if it has one, and its source; without a repository, anonymous.

        Raises `SyncError`.
        """

    async def replace(self, repository: Repository, refused: Credential) -> bool:
        """Return whether `find` now has another credential than the `refused` one; its source may be asked for it."""


class OneCredential:
    """`Credentials` with one credential for everything."""

    def __init__(self, found: Found) -> None:
        self._found = found

    async def find(self, _repository: Repository | None) -> Found:
        """See `Credentials`."""
        return self._found

    async def replace(self, _repository: Repository, _refused: Credential) -> bool:
        """See `Credentials`."""
        return False


_Identity = tuple[str, "Credential"]
"""A realm, and the credential with the identity token that is exchanged there."""


def leads_nowhere(error: SyncError) -> bool:
    """Return whether a challenge cannot be answered by anyone: its token service is missing, or not to be trusted.

    Another challenge of the registry may be answered instead.
    """
    if isinstance(error, ProtocolViolation):
        return True
    return isinstance(error, RegistryError) and (error.status in _NOT_IN_THIS_FORM or error.status is None)


class TokenServices:
    """Fetches tokens, with retries and in the form that each service takes.

    `chance` returns a uniform number in [0, 1). A service that has used up its tries gets one request for each further
    token, until it answers. `wait_for_turn(registry)` precedes each request to the registry's own host.
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
        """Identity tokens that remain valid after an exchange."""
        self._exchanging: dict[_Identity, asyncio.Lock] = {}

    async def fetch(
        self,
        challenge: Challenge,
        scopes: Scopes,
        credential: Credential | None,
        repository: Repository | None,
        endpoint: Endpoint,
    ) -> tuple[Token, float]:
        """Return a token, and when the request for it was sent. Raises AuthenticationError and other `SyncError`s."""
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
        """Exchange an identity token for a token.

        Some services take each identity token once and return the next: until this one is known not to, exchanges go
        one at a time.
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
            self._refreshed.pop(key, None)  # the older one may still be valid
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
                raise first from error  # users know the usual form
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
                    last = tries.write_on(error)
                    if error.retryable:
                        self._silent.add(realm)
                        hint = f"This is the token service of {endpoint.registry}: check that it runs."
                        # Not retryable, or each request that needs the token would retry it again.
                        last = last.changed(retryable=False, hint=hint)
                    raise last from error.__cause__
            else:
                self._silent.discard(realm)
                return token, asked_at
            await asyncio.sleep(pause)

    async def _follow(self, request: Request, endpoint: Endpoint) -> Response:
        """Return the answer after redirects of a GET. The password stays with the same scheme, host and port."""
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
        return failure.changed(hint=f"Check the user name and the password for {endpoint.registry}.")
    return failure


class _RegistryState(Struct):
    offered: tuple[Challenge, ...] = ()
    """The challenges of the last 401, the best first."""
    closed: set[str] = field(default_factory=set)
    """Realms without tokens."""
    known: asyncio.Event = field(default_factory=asyncio.Event)
    scouting: bool = False
    pinged: bool = False

    @property
    def challenge(self) -> Challenge | None:
        """The challenge to answer; where every realm is closed, the best, whose error is reported."""
        open_ones = (each for each in self.offered if each.params.get("realm") not in self.closed)
        return next(open_ones, self.offered[0] if self.offered else None)


class _KeptToken(Struct):
    authorization: Authorization
    until: float
    missing: Scopes = ()


async def _at_once(_registry: str) -> None:
    """Return without a turn: no registry is paced."""


_Key = tuple[str, "Credential | None", tuple["Scope", ...]]
_Place = tuple[str, "Repository | None", tuple["Scope", ...]]
_NOTHING_OWED = Authorization(None, UNENDING_S)


class TokenBroker:
    """The coordinator's `Authorizer`, one for each run.

    All requests with the same scopes share one token request. For `retry`, `chance` and `wait_for_turn` see
    `TokenServices`. Where a credential is refused, `credentials` may replace it.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        retry: RetryPolicy = ONCE,
        chance: Callable[[], float] = lambda: 0.0,
        wait_for_turn: Callable[[str], Awaitable[None]] = _at_once,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._services = TokenServices(transport, retry=retry, chance=chance, wait_for_turn=wait_for_turn)
        self._loop = asyncio.get_running_loop()
        self._registries: dict[str, _RegistryState] = {}
        self._kept: dict[_Key, _KeptToken] = {}
        self._renewed_at: dict[_Key, float] = {}
        self._most_kept = MOST_GIVEN
        self._fetching: dict[_Key, asyncio.Future[Authorization]] = {}
        self._given: dict[_Place, _KeptToken] = {}

    def known(self, endpoint: Endpoint, repository: Repository | None, scopes: Scopes) -> Authorization | None:
        """See `Authorizer`."""
        state = self._registries.get(endpoint.registry)
        if state is None or not state.known.is_set():
            return None
        if not state.offered:
            return _NOTHING_OWED
        given = self._given.get((endpoint.registry, repository, scopes))
        return given.authorization if given is not None and given.until > self._loop.time() else None

    async def authorize(self, endpoint: Endpoint, repository: Repository | None, scopes: Scopes) -> Authorization:
        """See `Authorizer`. The first caller for a registry gets nothing to send; the others wait for its answer."""
        state = self._state(endpoint)
        while not state.known.is_set():
            if not state.scouting:
                state.scouting = True
                return Authorization(None, 0.0)
            await state.known.wait()
        given = await self._current(state, endpoint, repository, scopes)
        if len(self._given) >= MOST_GIVEN:
            self._given.clear()
        self._given[endpoint.registry, repository, scopes] = _KeptToken(given, self._loop.time() + given.usable_s)
        return given

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: Scopes,
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """See `Authorizer`."""
        state = self._state(endpoint)
        offered = rank_challenges(parse_challenges(challenges)) or state.offered or await self._ping(endpoint)
        if not offered:
            self.answered(endpoint)
            raise AuthenticationError(
                "the registry answered 401 and did not say how to authenticate",
                repository=str(repository) if repository else None,
                status=401,
            )
        state.offered = offered
        self._given.clear()
        state.known.set()
        current = await self._current(state, endpoint, repository, scopes)
        if current.value != rejected:
            return current  # another request has renewed it meanwhile, or there was none before
        challenge = state.challenge or offered[0]
        found = await self._credentials.find(repository)
        key = (endpoint.registry, found.credential, scopes)
        if challenge.scheme == "basic" and await self._replaced(repository, found.credential):
            return await self._current(state, endpoint, repository, scopes)
        kept = self._kept.get(key)
        if kept is None or not self._may_help(key, challenge):
            # Another token would be refused as well.
            missing = kept.missing if kept is not None else ()
            raise _denied(repository, found, challenge, missing, denial_hint(endpoint.profile, repository, scopes))
        self._renewed_at[key] = self._loop.time()
        del self._kept[key]
        self._given.clear()  # other requests may have got the old one meanwhile
        return await self._current(state, endpoint, repository, scopes)

    def answered(self, endpoint: Endpoint) -> None:
        """See `Authorizer`."""
        self._state(endpoint).known.set()

    def abandoned(self, endpoint: Endpoint) -> None:
        """See `Authorizer`. After the first request of a registry, the next one tries."""
        state = self._state(endpoint)
        if not state.known.is_set():
            state.scouting = False
            waiting, state.known = state.known, asyncio.Event()
            waiting.set()

    def _may_help(self, key: _Key, challenge: Challenge) -> bool:
        """Return whether another token may be accepted where this one was refused."""
        error = challenge.params.get("error")
        if error == "insufficient_scope":
            return False
        fresh_s = FRESH_INVALID_S if error == "invalid_token" else FRESH_S
        renewed_at = self._renewed_at.get(key)
        return renewed_at is None or self._loop.time() - renewed_at >= fresh_s

    async def _ping(self, endpoint: Endpoint) -> tuple[Challenge, ...]:
        """Return the challenges of `/v2/`, once: some registries (gcr.io) have sent a 401 without one elsewhere."""
        state = self._state(endpoint)
        if state.pinged:
            return ()
        response = await self._transport.perform(build_ping(endpoint), endpoint)
        state.pinged = True
        return rank_challenges(parse_challenges(response.headers.get_all("WWW-Authenticate")))

    def _state(self, endpoint: Endpoint) -> _RegistryState:
        state = self._registries.get(endpoint.registry)
        if state is None:
            state = self._registries[endpoint.registry] = _RegistryState()
        return state

    async def _replaced(self, repository: Repository | None, refused: Credential | None) -> bool:
        """Return whether the repository has another credential now than the refused one."""
        if repository is None or refused is None:
            return False
        return await self._credentials.replace(repository, refused)

    async def _current(
        self, state: _RegistryState, endpoint: Endpoint, repository: Repository | None, scopes: Scopes
    ) -> Authorization:
        while True:
            challenge = state.challenge
            if challenge is None:
                return _NOTHING_OWED
            found = await self._credentials.find(repository)
            credential, now = found.credential, self._loop.time()
            if challenge.scheme == "basic":
                # Without a credential the request is sent without: this one may be open to everyone.
                value = None if credential is None or _is_token(credential) else basic_authorization(credential)
                good_for_s = UNENDING_S if found.good_until_s is None else found.good_until_s - now
                return Authorization(value, max(0.0, min(UNENDING_S, good_for_s)))
            key = (endpoint.registry, credential, scopes)
            kept = self._kept.get(key)
            if kept is not None and kept.until > now:
                return Authorization(kept.authorization.value, kept.until - now)
            try:
                return await self._fetch_once(key, endpoint, challenge, repository)
            except SyncError as error:
                if leads_nowhere(error):
                    state.closed.add(challenge.params.get("realm", ""))
                    if state.challenge is not None and state.challenge.params.get("realm") not in state.closed:
                        continue  # the registry offers another way
                elif isinstance(error, AuthenticationError) and await self._replaced(repository, credential):
                    continue
                raise

    async def _fetch_once(
        self, key: _Key, endpoint: Endpoint, challenge: Challenge, repository: Repository | None
    ) -> Authorization:
        running = self._fetching.get(key)
        if running is None:
            running = self._fetching[key] = share(self._fetch(key, endpoint, challenge, repository))
            running.add_done_callback(lambda _done: self._fetching.pop(key, None))
        return await shared_result(running)

    async def _fetch(
        self, key: _Key, endpoint: Endpoint, challenge: Challenge, repository: Repository | None
    ) -> Authorization:
        _registry, credential, scopes = key
        token, asked_at = await self._services.fetch(challenge, scopes, credential, repository, endpoint)
        usable_s = token.expires_in_s * USABLE_PART
        keep_out(token.value, passing=True)
        authorization = Authorization(f"Bearer {token.value}", usable_s)
        self._forget_the_ended()
        self._kept[key] = _KeptToken(authorization, asked_at + usable_s, token.missing)
        return authorization

    def _forget_the_ended(self) -> None:
        """Drop expired tokens now and then: in a run of days the credentials change, and with them the keys."""
        if len(self._kept) < self._most_kept:
            return
        now = self._loop.time()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until > now}
        self._renewed_at = {key: at for key, at in self._renewed_at.items() if key in self._kept}
        self._most_kept = max(MOST_GIVEN, 2 * len(self._kept))


def _is_token(credential: Credential) -> bool:
    """Return whether it is only an identity token, which only a token service takes."""
    return bool(credential.identity_token) and not credential.password


def _denied(
    repository: Repository | None, found: Found, challenge: Challenge, missing: Scopes, likely: str | None
) -> AuthenticationError:
    credential = found.credential
    ask = likely or "Ask for the right on this repository."
    if credential is None:
        text = "the registry wants credentials, and there are none for it"
        hint = "Add a user name and a password for it to the auth file, or log in with `image-syncer login`."
        if found.source.startswith("anonymous ("):  # the reason why a cloud has none
            hint += f" It is asked as {found.source}."
    elif challenge.scheme == "basic" and _is_token(credential):
        text = "the registry wants a user name and a password, and there is only an identity token for it"
        hint = f"Log in with a password; the token came from {found.source}."
    elif missing:
        rights = " and ".join(f"{', '.join(scope.actions)} on {scope.name}" for scope in missing)
        text = f"the user {credential.username!r} may not do this here: the token service did not grant {rights}"
        hint = f"{ask} The credentials came from {found.source}."
    elif challenge.params.get("error") == "insufficient_scope":
        text = f"the user {credential.username!r} may not do this here (insufficient scope)"
        hint = f"{ask} The credentials came from {found.source}."
    else:
        text = f"the registry does not accept the user {credential.username!r} with its password"
        hint = f"Correct the password, or log in again; the credentials came from {found.source}."
    return AuthenticationError(text, repository=str(repository) if repository else None, hint=hint, status=401)
