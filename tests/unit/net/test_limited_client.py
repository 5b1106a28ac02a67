"""The client at registries that limit it, over a transport that is made up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.credentials import Found
from image_syncer.errors import NotAskedError, Origin, RateLimitedError
from image_syncer.net import (
    LimiterEvents,
    LocalRequestLimiter,
    OneCredential,
    RegistryClient,
    RetryRules,
    Throttle,
    TokenBroker,
)
from image_syncer.oci import Repository
from image_syncer.registry import (
    GENERIC,
    Endpoint,
    Headers,
    Operation,
    Request,
    Response,
    build_get_manifest,
    build_head_manifest,
)
from image_syncer.registry.profiles.profile import Limit
from image_syncer.scheduling import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ENDPOINT = Endpoint("registry.example", "https://registry.example")
REPOSITORY = Repository("registry.example", "team/app")
HEAD = build_head_manifest(ENDPOINT, REPOSITORY, "v1")

_Answer = tuple[int, "list[tuple[str, str]]"]


class Registry:
    """Answers one after the other, and then always the last."""

    crowded = False

    def __init__(self, answers: Sequence[_Answer]) -> None:
        self.answers = list(answers)
        self.asked_at: list[float] = []

    async def perform(self, request: Request, _endpoint: Endpoint, **_: object) -> Response:
        self.asked_at.append(asyncio.get_running_loop().time())
        status, fields = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Response(status, Headers(fields), b"", request.url)


class Lab:
    def __init__(self, answers: Sequence[_Answer], *, tries: int = 1, longest_wait_s: float = 10.0) -> None:
        self.registry = Registry(answers)
        self.throttle = Throttle()
        self.paused: list[float] = []
        LocalRequestLimiter(
            self.throttle,
            longest_wait_s=longest_wait_s,
            events=LimiterEvents(
                on_given=lambda _worker, _registry, _turns: None,
                on_paused=lambda _registry, seconds: self.paused.append(seconds),
                on_paced=lambda _registry, _paced: None,
            ),
        )
        self.client = RegistryClient(
            self.registry,  # type: ignore[arg-type]
            TokenBroker(self.registry, OneCredential(Found(None, "anonymous"))),  # type: ignore[arg-type]
            self.throttle,
            RetryRules(RetryPolicy(tries=tries, first_pause_s=0.01, longest_wait_s=longest_wait_s), chance=lambda: 0.0),
        )

    async def head(self) -> Response:
        return await self.client.send(HEAD, ENDPOINT, origin=Origin.SOURCE)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))  # type: ignore[arg-type]


def test_more_refusals_than_tries_are_waited_for() -> None:
    async def scenario() -> None:
        lab = Lab([(429, [])] * 3 + [(200, [])], tries=2)
        assert (await lab.head()).status == 200
        assert len(lab.registry.asked_at) == 4

    run(scenario)


def test_a_limit_that_never_ends_is_told_after_the_longest_wait() -> None:
    async def scenario() -> None:
        lab = Lab([(429, [])], tries=2, longest_wait_s=1.0)
        with pytest.raises((RateLimitedError, NotAskedError)):
            await lab.head()
        assert lab.registry.asked_at[-1] - lab.registry.asked_at[0] >= 0.5

    run(scenario)


@pytest.mark.parametrize(
    "fields",
    [
        [("RateLimit-Limit", "100"), ("RateLimit-Remaining", "0"), ("RateLimit-Reset", "1")],
        [("RateLimit", '"default";r=0;t=1'), ("RateLimit-Policy", '"default";q=100;w=60')],
    ],
)
def test_who_is_told_that_nothing_is_left_does_not_ask_before_there_is_more(fields: list[tuple[str, str]]) -> None:
    async def scenario() -> None:
        lab = Lab([(200, fields), (200, [])])
        await lab.head()
        await lab.head()
        first, second = lab.registry.asked_at
        assert second - first >= 0.9
        assert lab.paused == [pytest.approx(1.0)]

    run(scenario)


def test_docker_hub_is_asked_on_for_it_does_not_say_when_there_is_more() -> None:
    async def scenario() -> None:
        hub = [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")]
        lab = Lab([(200, hub)])
        for _ in range(50):
            await lab.head()
        assert lab.registry.asked_at[-1] - lab.registry.asked_at[0] < 1.0
        assert lab.throttle.watched == set()

    run(scenario)


LIMITED = replace(ENDPOINT, profile=replace(GENERIC, limits=(Limit(frozenset({Operation.HEAD_MANIFEST}), 20.0),)))
BUCKET = "registry.example (head manifest)"


def test_published_limit_is_kept_from_the_first_request_on() -> None:
    async def scenario() -> None:
        lab = Lab([(200, [])])
        await asyncio.gather(*(lab.client.send(HEAD, LIMITED, origin=Origin.SOURCE) for _ in range(8)))
        # 19 a second, and a few at once.
        assert lab.registry.asked_at[-1] - lab.registry.asked_at[0] > 0.1
        assert BUCKET in lab.throttle.watched
        assert ENDPOINT.registry not in lab.throttle.watched
        assert not lab.client.holds_back(ENDPOINT.registry, 0.0)
        waiting = [asyncio.ensure_future(lab.client.send(HEAD, LIMITED, origin=Origin.SOURCE)) for _ in range(8)]
        while not lab.client.holds_back(ENDPOINT.registry, 0.0):
            await asyncio.sleep(0)
        assert not lab.client.holds_back("registry", 0.0)
        await asyncio.gather(*waiting)

    run(scenario)


def test_operations_without_a_published_limit_take_no_turn() -> None:
    async def scenario() -> None:
        lab = Lab([(429, [("Retry-After", "5")]), (200, [])], tries=1, longest_wait_s=0.1)
        with pytest.raises(RateLimitedError):
            await lab.client.send(HEAD, LIMITED, origin=Origin.SOURCE)
        assert lab.throttle.wait_s(BUCKET, asyncio.get_running_loop().time()) > 1
        get = build_get_manifest(ENDPOINT, REPOSITORY, "v1")
        assert (await lab.client.send(get, LIMITED, origin=Origin.SOURCE)).status == 200
        with pytest.raises(NotAskedError):
            await lab.client.send(HEAD, LIMITED, origin=Origin.SOURCE)

    run(scenario)
