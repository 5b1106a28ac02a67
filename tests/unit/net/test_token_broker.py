"""The broker over a transport that is made up: who waits for whom, and when a token is asked for."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import AuthenticationError, SyncError, TransportError, UnavailableError
from image_syncer.net import Authorization, TokenBroker
from image_syncer.oci import Repository
from image_syncer.planning import ONCE, RetryPolicy
from image_syncer.registry import Credential, Endpoint, Headers, Operation, Response, pull_scope, push_scope

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


def broker_of(registry: Registry, credential: Credential | None = ME, retry: RetryPolicy = ONCE) -> TokenBroker:
    async def credential_for(_repository: Repository) -> tuple[Credential | None, str]:
        return credential, "the auth file"

    return TokenBroker(registry, credential_for, retry=retry)  # type: ignore[arg-type]


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
            raise answer.copy()
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
