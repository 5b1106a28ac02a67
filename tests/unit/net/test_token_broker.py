"""The broker over a transport that is made up: who waits for whom, and when a token is asked for."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import AuthenticationError, SyncError
from image_syncer.net import Authorization, TokenBroker
from image_syncer.oci import Repository
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


def broker_of(registry: Registry, credential: Credential | None = ME) -> TokenBroker:
    async def credential_for(_repository: Repository) -> tuple[Credential | None, str]:
        return credential, "the auth file"

    return TokenBroker(registry, credential_for)  # type: ignore[arg-type]


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
        assert {error.retryable for error in errors} == {True}

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
