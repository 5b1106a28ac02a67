"""The broker over a transport that is made up: who waits for whom, and when a token is asked for."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from image_syncer.credentials import Found
from image_syncer.errors import AuthenticationError, SyncError, TransportError, UnavailableError
from image_syncer.net import Authorization, TokenBroker
from image_syncer.oci import Repository
from image_syncer.registry import (
    Credential,
    Endpoint,
    Headers,
    Operation,
    Response,
    basic_authorization,
    pull_scope,
    push_scope,
)
from image_syncer.scheduling import ONCE, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from image_syncer.registry import Request, Scope

ENDPOINT = Endpoint("registry.example", "https://registry.example")
REPOSITORY = Repository("registry.example", "team/app")
PULL = (pull_scope(REPOSITORY),)
PUSH = (push_scope(REPOSITORY),)
BEARER = 'Bearer realm="https://auth.example/token",service="registry.example"'
ME = Credential("me", "hunter2hunter2")


class Registry:
    """Answers token requests with "t1", "t2" …, a ping with a challenge, and notes what it was asked."""

    def __init__(self, *, status: int = 200) -> None:
        self.asked: list[Request] = []
        self.status = status

    async def perform(self, request: Request, endpoint: Endpoint, **_: object) -> Response:
        self.asked.append(request)
        await asyncio.sleep(0)
        if request.operation is Operation.PING:
            return Response(401, Headers([("WWW-Authenticate", BEARER)]), b"", request.url)
        body = json.dumps({"token": f"t{self.tokens}", "expires_in": 300}).encode()
        return Response(self.status, Headers(), body, request.url)

    @property
    def tokens(self) -> int:
        return sum(request.operation is Operation.GET_TOKEN for request in self.asked)


class Keyring:
    """Knows one credential; where it is refused, the next one of `others`."""

    def __init__(self, credential: Credential | None, *others: Credential, good_until_s: float | None = None) -> None:
        self.found = Found(credential, "the auth file", good_until_s=good_until_s)
        self.others = list(others)
        self.refused: list[Credential] = []

    async def find(self, repository: Repository | None) -> Found:
        return Found(None, "anonymous") if repository is None else self.found

    async def replace(self, _repository: Repository, refused: Credential) -> bool:
        await asyncio.sleep(0)
        if self.found.credential == refused:
            self.refused.append(refused)
            if self.others:
                self.found = replace(self.found, credential=self.others.pop(0))
        return self.found.credential != refused


def broker_of(registry: Registry, credential: Credential | None = ME, retry: RetryPolicy = ONCE) -> TokenBroker:
    return TokenBroker(registry, Keyring(credential), retry=retry)  # type: ignore[arg-type]


async def known_broker(registry: Registry, credential: Credential | None = ME) -> TokenBroker:
    """A broker that has seen the registry's challenge."""
    broker = broker_of(registry, credential)
    assert (await broker.authorize(ENDPOINT, REPOSITORY, PULL)).value is None
    await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])
    return broker


def run(work: Coroutine[None, None, None]) -> None:
    asyncio.run(work)


def test_the_first_request_goes_out_alone_and_the_others_wait_for_its_answer() -> None:
    async def scenario() -> None:
        broker = broker_of(Registry())
        first = await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        waiting = [asyncio.ensure_future(broker.authorize(ENDPOINT, REPOSITORY, PULL)) for _ in range(3)]
        await asyncio.sleep(0)
        assert first.value is None
        assert not any(task.done() for task in waiting)
        broker.answered(ENDPOINT)
        assert [(await task).value for task in waiting] == [None] * 3

    run(scenario())


def test_where_the_first_gets_no_answer_the_next_one_tries() -> None:
    async def scenario() -> None:
        broker = broker_of(Registry())
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        waiting = [asyncio.ensure_future(broker.authorize(ENDPOINT, REPOSITORY, PULL)) for _ in range(2)]
        await asyncio.sleep(0)
        broker.abandoned(ENDPOINT)
        done, pending = await asyncio.wait(waiting, timeout=0.01)
        assert (len(done), len(pending)) == (1, 1)
        broker.answered(ENDPOINT)
        await asyncio.gather(*pending)

    run(scenario())


def test_one_token_is_asked_for_however_many_wait_for_it() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = await known_broker(registry)
        given = await asyncio.gather(*(broker.authorize(ENDPOINT, REPOSITORY, PUSH) for _ in range(50)))
        assert {authorization.value for authorization in given} == {"Bearer t2"}
        assert registry.tokens == 2  # one to pull, one to push
        assert all(0 < authorization.usable_s < 300 for authorization in given)

    run(scenario())


@pytest.mark.parametrize(("first", "second"), [("", ""), (',error="invalid_token"', ',error="invalid_token"')])
def test_a_token_that_is_refused_is_renewed_once(first: str, second: str) -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = await known_broker(registry)
        renewed = await broker.renew(ENDPOINT, REPOSITORY, PULL, "Bearer t1", [BEARER + first])
        assert renewed.value == "Bearer t2"
        with pytest.raises(AuthenticationError, match="does not accept the user 'me'") as refused:
            await broker.renew(ENDPOINT, REPOSITORY, PULL, "Bearer t2", [BEARER + second])
        assert ME.password not in f"{refused.value} {refused.value.to_data()}"
        assert registry.tokens == 2

    run(scenario())


def test_everyone_who_held_the_refused_token_gets_the_same_new_one() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = await known_broker(registry)
        renewals = (broker.renew(ENDPOINT, REPOSITORY, PULL, "Bearer t1", [BEARER]) for _ in range(20))
        given: list[Authorization] = await asyncio.gather(*renewals)
        assert {authorization.value for authorization in given} == {"Bearer t2"}
        assert registry.tokens == 2

    run(scenario())


def test_a_token_that_lacks_rights_is_not_renewed() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = await known_broker(registry)
        with pytest.raises(AuthenticationError, match="insufficient scope"):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, "Bearer t1", [BEARER + ',error="insufficient_scope"'])
        assert registry.tokens == 1

    run(scenario())


@pytest.mark.parametrize(
    ("credential", "words"), [(None, "there are none for it"), (ME, "does not accept the user 'me'")]
)
def test_a_password_that_is_refused_is_not_sent_twice(credential: Credential | None, words: str) -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = broker_of(registry, credential)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        rejected = None
        if credential is not None:
            rejected = (await broker.renew(ENDPOINT, REPOSITORY, PULL, None, ['Basic realm="x"'])).value
            assert rejected is not None
        with pytest.raises(AuthenticationError, match=words):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, rejected, ['Basic realm="x"'])
        assert registry.asked == []

    run(scenario())


def test_a_challenge_that_is_missing_is_asked_for_once() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = broker_of(registry)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        assert (await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [])).value == "Bearer t1"
        assert (await broker.renew(ENDPOINT, REPOSITORY, PUSH, None, [])).value == "Bearer t2"
        assert [request.operation for request in registry.asked].count(Operation.PING) == 1

    run(scenario())


def test_every_waiter_gets_an_error_of_its_own() -> None:
    async def scenario() -> None:
        broker = broker_of(Registry(status=503))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)

        async def ask(scopes: tuple[Scope, ...]) -> SyncError:
            with pytest.raises(SyncError) as caught:
                await broker.renew(ENDPOINT, REPOSITORY, scopes, None, [BEARER])
            return caught.value

        errors = await asyncio.gather(*(ask(PULL) for _ in range(3)))
        assert len({id(error) for error in errors}) == 3
        assert {error.retryable for error in errors} == {False}  # the broker has tried it again

    run(scenario())


def test_credentials_do_not_leave_tls() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = broker_of(registry)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        with pytest.raises(AuthenticationError, match="not encrypted"):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, None, ['Bearer realm="http://auth.example/token"'])
        assert registry.asked == []

    run(scenario())


def test_what_is_known_is_what_authorize_would_say() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = broker_of(registry)
        assert broker.known(ENDPOINT, REPOSITORY, PULL) is None  # nobody has been there
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        assert broker.known(ENDPOINT, REPOSITORY, PULL) is None  # the first is on its way
        broker.answered(ENDPOINT)
        open_door = broker.known(ENDPOINT, REPOSITORY, PULL)
        assert open_door is not None
        assert open_door.value is None
        await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])
        assert broker.known(ENDPOINT, REPOSITORY, PULL) is None  # it was open, and is no more
        given = await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        assert broker.known(ENDPOINT, REPOSITORY, PULL) is given
        for other in (Repository("registry.example", "team/other"), None):
            assert broker.known(ENDPOINT, other, PULL) is None
        assert broker.known(ENDPOINT, REPOSITORY, PUSH) is None
        assert broker.known(Endpoint("other.example", "https://other.example"), REPOSITORY, PULL) is None
        assert registry.tokens == 1

    run(scenario())


def test_a_token_that_was_refused_is_known_no_more() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = await known_broker(registry)
        assert (await broker.authorize(ENDPOINT, REPOSITORY, PULL)).value == "Bearer t1"
        renewing = asyncio.ensure_future(broker.renew(ENDPOINT, REPOSITORY, PULL, "Bearer t1", [BEARER]))
        values = []
        while not renewing.done():
            known = broker.known(ENDPOINT, REPOSITORY, PULL)
            values.append(known.value if known else None)
            await asyncio.sleep(0)
        assert values[1:] == [None] * len(values[1:])  # from the moment on at which the refusal is heard
        assert (await renewing).value == "Bearer t2"
        assert (await broker.authorize(ENDPOINT, REPOSITORY, PULL)).value == "Bearer t2"
        known = broker.known(ENDPOINT, REPOSITORY, PULL)
        assert known is not None
        assert known.value == "Bearer t2"

    run(scenario())


def test_a_token_that_has_run_out_is_known_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        broker = await known_broker(Registry())
        given = await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        loop = asyncio.get_running_loop()
        later = loop.time() + given.usable_s + 1
        monkeypatch.setattr(loop, "time", lambda: later)
        assert broker.known(ENDPOINT, REPOSITORY, PULL) is None

    run(scenario())


class Services(Registry):
    """Answers token requests with one after the other of `answers`: a status and a body, or an error; then the last."""

    def __init__(self, *answers: tuple[int, dict[str, object]] | SyncError) -> None:
        super().__init__()
        self._answers = list(answers)

    async def perform(self, request: Request, endpoint: Endpoint, **_: object) -> Response:
        if request.operation is Operation.PING:
            return await super().perform(request, endpoint)
        self.asked.append(request)
        await asyncio.sleep(0)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, SyncError):
            raise answer.changed()
        return Response(answer[0], Headers(), json.dumps(answer[1]).encode(), request.url)


@pytest.mark.parametrize("issued_at", ["1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "yesterday", 7])
@pytest.mark.parametrize("wrong_by_s", [-600.0, 600.0, 86400.0 * 365])
def test_no_clock_on_either_side_matters(monkeypatch: pytest.MonkeyPatch, issued_at: object, wrong_by_s: float) -> None:
    """`expires_in` counts from when we asked, by a clock that is never set; other times say nothing."""

    async def scenario() -> None:
        answer = {"token": "t1", "expires_in": 300, "issued_at": issued_at}
        registry = Services((200, answer), (200, {**answer, "token": "t2"}))
        monotonic, passed = asyncio.get_running_loop().time, [0.0]
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: monotonic() + passed[0])
        broker = await known_broker(registry)
        told = time.time
        monkeypatch.setattr("time.time", lambda: told() + wrong_by_s)
        given = await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        assert (given.value, given.usable_s) == ("Bearer t1", pytest.approx(240, abs=5))
        passed[0] = 230.0
        assert (await broker.authorize(ENDPOINT, REPOSITORY, PULL)).value == "Bearer t1"
        passed[0] = 241.0
        assert (await broker.authorize(ENDPOINT, REPOSITORY, PULL)).value == "Bearer t2"

    run(scenario())


def test_a_token_service_that_is_away_for_a_while_is_asked_again() -> None:
    async def scenario() -> None:
        away = TransportError("refused", phase="connect", operation="get token")
        registry = Services(away, (503, {}), (429, {}), away, (200, {"token": "t1"}))
        broker = broker_of(registry, retry=RetryPolicy(tries=9))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        waiting = [broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER]) for _ in range(3)]
        assert {given.value for given in await asyncio.gather(*waiting)} == {"Bearer t1"}
        assert registry.tokens == 5

    run(scenario())


def test_a_token_service_that_was_given_up_is_asked_once_for_each_token() -> None:
    async def scenario() -> None:
        registry = Services((503, {}))
        broker = broker_of(registry, retry=RetryPolicy(tries=4))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        asked = []
        for scopes in (PULL, PUSH, PULL):
            with pytest.raises(UnavailableError) as caught:
                await broker.renew(ENDPOINT, REPOSITORY, scopes, None, [BEARER])
            assert not caught.value.retryable
            assert "token service of registry.example" in str(caught.value.hint)
            asked.append((registry.tokens, caught.value.tries))
        assert asked == [(4, 4), (5, 1), (6, 1)]
        registry._answers = [(200, {"token": "t1"})]
        assert (await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])).value == "Bearer t1"
        registry._answers = [(503, {})]
        with pytest.raises(UnavailableError):
            await broker.renew(ENDPOINT, REPOSITORY, PUSH, None, [BEARER])
        assert registry.tokens == 11  # it had answered, so it is waited for again

    run(scenario())


def test_a_password_that_is_wrong_is_not_tried_again() -> None:
    async def scenario() -> None:
        registry = Services((401, {}))
        broker = broker_of(registry, retry=RetryPolicy(tries=4))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        with pytest.raises(AuthenticationError):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])
        assert registry.tokens == 1

    run(scenario())


# Passwords that are refused, and other ways in


YOU = Credential("you", "hunter3hunter3")
BASIC = 'Basic realm="registry"'


def broker_with(registry: Registry, keyring: Keyring) -> TokenBroker:
    return TokenBroker(registry, keyring)  # type: ignore[arg-type]


def test_a_password_that_is_refused_is_replaced_once_where_its_source_knows_another() -> None:
    async def scenario() -> None:
        keyring = Keyring(ME, YOU)
        broker = broker_with(Registry(), keyring)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        first = await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BASIC])
        given = await asyncio.gather(
            *(broker.renew(ENDPOINT, REPOSITORY, PULL, first.value, [BASIC]) for _ in range(5))
        )
        assert {each.value for each in given} == {basic_authorization(YOU)}
        assert (await broker.authorize(ENDPOINT, REPOSITORY, PUSH)).value == basic_authorization(YOU)
        with pytest.raises(AuthenticationError, match="does not accept the user 'you'"):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, given[0].value, [BASIC])
        assert keyring.refused == [ME, YOU]

    run(scenario())


def test_a_password_is_used_no_longer_than_it_is_good() -> None:
    async def scenario() -> None:
        now = asyncio.get_running_loop().time()
        broker = broker_with(Registry(), Keyring(ME, good_until_s=now + 90))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        given = await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BASIC])
        assert given.usable_s == pytest.approx(90, abs=5)

    run(scenario())


@pytest.mark.parametrize(
    "refusal", [(401, {}), (403, {}), (400, {"error": "invalid_grant"})], ids=["401", "403", "invalid grant"]
)
def test_a_password_that_the_token_service_refuses_is_replaced(refusal: tuple[int, dict[str, object]]) -> None:
    async def scenario() -> None:
        registry, keyring = Services(refusal, (200, {"token": "t1"})), Keyring(ME, YOU)
        broker = broker_with(registry, keyring)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        assert (await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])).value == "Bearer t1"
        assert [dict(request.headers)["Authorization"] for request in registry.asked] == [
            basic_authorization(ME),
            basic_authorization(YOU),
        ]

    run(scenario())


def test_a_password_that_the_token_service_refuses_and_nobody_replaces_is_sent_once() -> None:
    async def scenario() -> None:
        registry, keyring = Services((401, {})), Keyring(ME)
        broker = broker_with(registry, keyring)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        with pytest.raises(AuthenticationError):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])
        assert (registry.tokens, keyring.refused) == (1, [ME])

    run(scenario())


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_service_that_takes_no_get_gets_the_password_in_a_post_from_then_on(status: int) -> None:
    async def scenario() -> None:
        registry = Services((status, {}), (200, {"access_token": "t1"}))
        broker = broker_of(registry)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        for scopes in (PULL, PUSH):
            assert (await broker.renew(ENDPOINT, REPOSITORY, scopes, None, [BEARER])).value == "Bearer t1"
        get, *posts = registry.asked
        assert (get.method, [each.method for each in posts]) == ("GET", ["POST", "POST"])
        form = parse_qs((posts[0].body or b"").decode())
        assert form["grant_type"] == ["password"]
        assert (form["username"], form["password"]) == ([ME.username], [ME.password])
        assert form["service"] == ["registry.example"]
        assert form["scope"] == ["repository:team/app:pull"]
        assert "Authorization" not in dict(posts[0].headers)

    run(scenario())


def test_a_service_that_is_not_there_is_said_to_be_missing_and_nobody_gets_a_form() -> None:
    async def scenario() -> None:
        for credential, methods in ((ME, ["GET", "POST"]), (None, ["GET"])):
            registry = Services((404, {}))
            broker = broker_of(registry, credential)
            await broker.authorize(ENDPOINT, REPOSITORY, PULL)
            with pytest.raises(SyncError, match=r"GET https://auth\.example/token answered 404"):
                await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])
            assert [each.method for each in registry.asked] == methods

    run(scenario())


def test_an_identity_token_is_exchanged_and_the_next_one_takes_its_place() -> None:
    async def scenario() -> None:
        answers = [(200, {"access_token": f"t{number}", "refresh_token": f"r{number}"}) for number in (1, 2)]
        registry = Services(*answers)  # type: ignore[arg-type]
        broker = broker_of(registry, Credential("<token>", "", "r0"))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        for scopes in (PULL, PUSH):
            await broker.renew(ENDPOINT, REPOSITORY, scopes, None, [BEARER])
        forms = [parse_qs((each.body or b"").decode()) for each in registry.asked]
        assert [form["refresh_token"] for form in forms] == [["r0"], ["r1"]]
        assert {form["grant_type"][0] for form in forms} == {"refresh_token"}

    run(scenario())


class Rotating(Registry):
    """Takes each refresh token once."""

    def __init__(self) -> None:
        super().__init__()
        self.good = "r0"

    async def perform(self, request: Request, endpoint: Endpoint, **_: object) -> Response:
        self.asked.append(request)
        await asyncio.sleep(0)
        if parse_qs((request.body or b"").decode())["refresh_token"] != [self.good]:
            return Response(400, Headers(), b'{"error": "invalid_grant"}', request.url)
        self.good = f"r{len(self.asked)}"
        body = json.dumps({"access_token": f"t{len(self.asked)}", "refresh_token": self.good}).encode()
        return Response(200, Headers(), body, request.url)


def test_identity_tokens_that_are_good_once_are_exchanged_one_after_the_other() -> None:
    async def scenario() -> None:
        registry = Rotating()
        broker = broker_of(registry, Credential("<token>", "", "r0"))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        repositories = [Repository("registry.example", f"team/app{number}") for number in range(5)]
        given = await asyncio.gather(
            *(broker.renew(ENDPOINT, each, (pull_scope(each),), None, [BEARER]) for each in repositories)
        )
        assert len({each.value for each in given}) == len(registry.asked) == 5
        registry.good = "r0"  # what was given last has ended
        assert (await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])).value == "Bearer t7"

    run(scenario())


def test_identity_tokens_that_last_are_exchanged_side_by_side() -> None:
    class Slow(Registry):
        under_way = most = 0

        async def perform(self, request: Request, endpoint: Endpoint, **how: object) -> Response:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0.001)
            self.under_way -= 1
            return await super().perform(request, endpoint, **how)

    async def scenario() -> None:
        registry = Slow()
        broker = broker_of(registry, Credential("<token>", "", "r0"))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        repositories = [Repository("registry.example", f"team/app{number}") for number in range(5)]
        await asyncio.gather(
            *(broker.renew(ENDPOINT, each, (pull_scope(each),), None, [BEARER]) for each in repositories)
        )
        assert registry.tokens == 5
        assert registry.most == 4  # all but the first, which found out

    run(scenario())


def test_an_identity_token_at_a_service_without_post_gives_way_to_the_password() -> None:
    async def scenario() -> None:
        registry = Services((404, {}), (200, {"token": "t1"}))
        broker = broker_of(registry, Credential("me", "p", "r0"))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        assert (await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])).value == "Bearer t1"
        assert [each.method for each in registry.asked] == ["POST", "GET"]

    run(scenario())


@pytest.mark.parametrize(
    ("bearer", "answer", "asked"),
    [
        ('Bearer realm="/token"', (200, {"token": "t"}), 0),
        ('Bearer realm="http://auth.example/token"', (200, {"token": "t"}), 0),
        (BEARER, (404, {}), 2),
        (BEARER, (200, {}), 1),
    ],
    ids=["no address", "not encrypted", "not there", "gives no token"],
)
@pytest.mark.parametrize("one_field", [True, False])
def test_where_no_token_can_be_had_the_registry_gets_the_password_that_it_offers_to_take(
    bearer: str, answer: tuple[int, dict[str, object]], asked: int, one_field: bool
) -> None:
    async def scenario() -> None:
        registry = Services(answer)
        broker = broker_of(registry)
        challenges = [f"{bearer}, {BASIC}"] if one_field else [BASIC, bearer]
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        for scopes in (PULL, PUSH):
            given = await broker.renew(ENDPOINT, REPOSITORY, scopes, None, challenges)
            assert given.value == basic_authorization(ME)
        assert registry.tokens == asked
        with pytest.raises(AuthenticationError, match="does not accept the user 'me'"):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, basic_authorization(ME), challenges)

    run(scenario())


def test_a_password_that_the_token_service_refuses_is_not_sent_to_the_registry() -> None:
    async def scenario() -> None:
        broker = broker_of(Services((401, {})))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        with pytest.raises(AuthenticationError, match=r"GET https://auth\.example/token answered 401"):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER, BASIC])

    run(scenario())


@pytest.mark.parametrize("by_field", [True, False])
def test_rights_that_were_not_granted_are_named(by_field: bool) -> None:
    async def scenario() -> None:
        claims = {"access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}], "sub": "hunter2hunter2"}
        jwt = f"eyJ9.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"
        answer = {"token": "t1", "scope": "repository:team/app:pull"} if by_field else {"token": jwt}
        broker = broker_of(Services((200, answer)))  # type: ignore[arg-type]
        await broker.authorize(ENDPOINT, REPOSITORY, PUSH)
        given = await broker.renew(ENDPOINT, REPOSITORY, PUSH, None, [BEARER])
        refusal = BEARER + ',error="insufficient_scope"'
        with pytest.raises(AuthenticationError) as caught:
            await broker.renew(ENDPOINT, REPOSITORY, PUSH, given.value, [refusal])
        assert "'me' may not do this here: the token service did not grant push on team/app" in str(caught.value)
        assert "hunter2" not in f"{caught.value} {caught.value.to_data()}"

    run(scenario())


def test_tokens_that_have_ended_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr("image_syncer.net.token_broker.MOST_GIVEN", 10)
        loop, passed = asyncio.get_running_loop(), [0.0]
        monotonic = loop.time
        monkeypatch.setattr(loop, "time", lambda: monotonic() + passed[0])
        broker = await known_broker(Registry())
        for number in range(100):
            passed[0] += 60.0
            repository = Repository("registry.example", f"team/app{number}")
            await broker.authorize(ENDPOINT, repository, (pull_scope(repository),))
        assert len(broker._kept) <= 20

    run(scenario())


@pytest.mark.parametrize(
    ("target", "sent"),
    [("/v2/token", True), ("https://auth.example/v2/token", True), ("https://sso.example/token", False)],
)
def test_a_redirect_of_the_token_service_is_followed_and_the_password_stays_at_its_host(
    target: str, sent: bool
) -> None:
    class Moved(Registry):
        async def perform(self, request: Request, endpoint: Endpoint, **_: object) -> Response:
            if request.url.startswith("https://auth.example/token?"):
                self.asked.append(request)
                return Response(307, Headers([("Location", target)]), b"", request.url)
            return await super().perform(request, endpoint)

    async def scenario() -> None:
        registry = Moved()
        broker = broker_of(registry)
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        given = await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BEARER])
        assert given.value == "Bearer t2"
        assert ("Authorization" in dict(registry.asked[-1].headers)) is sent

    run(scenario())


def test_an_identity_token_is_no_password() -> None:
    async def scenario() -> None:
        broker = broker_of(Registry(), Credential("<token>", "", "hunter2"))
        await broker.authorize(ENDPOINT, REPOSITORY, PULL)
        with pytest.raises(AuthenticationError, match="there is only an identity token for it"):
            await broker.renew(ENDPOINT, REPOSITORY, PULL, None, [BASIC])

    run(scenario())
