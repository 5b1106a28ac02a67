from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import NotAskedError
from image_syncer.net import Throttle
from image_syncer.registry import Allowance
from image_syncer.worker.process import RemoteRequestLimiter
from image_syncer.worker.protocol import (
    AllowanceReported,
    Paced,
    Refused,
    RegistryPause,
    RequestsGranted,
    RequestsWanted,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HERE = "registry.example"


class Worker:
    def __init__(self) -> None:
        self.said: list[object] = []
        self.throttle = Throttle()
        self.turns = RemoteRequestLimiter(self.throttle, self.said.append, longest_wait_s=1.0)

    def ask(self, times: int) -> list[asyncio.Future[None]]:
        return [asyncio.ensure_future(self.throttle.wait_for_turn(HERE, 1.0)) for _ in range(times)]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))  # type: ignore[arg-type]


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_is_wanted_at_once_is_one_message_and_turns_go_to_who_waits_longest() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.turns.on_paced(Paced(HERE, True))
        waiting = worker.ask(10)
        await soon()
        assert worker.said == [RequestsWanted(HERE, 10)]
        worker.turns.on_given(RequestsGranted(HERE, 4))
        await soon()
        assert [one.done() for one in waiting] == [True] * 4 + [False] * 6
        worker.turns.on_paced(Paced(HERE, False))
        await asyncio.gather(*waiting)
        assert worker.said == [RequestsWanted(HERE, 10)]
        await asyncio.gather(*worker.ask(3))

    run(scenario)


def test_a_refusal_is_told_and_what_comes_next_waits_for_the_coordinator() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.turns.refused(HERE, None)
        [waiting] = worker.ask(1)
        await soon()
        assert worker.said == [Refused(HERE, None), RequestsWanted(HERE, 1)]
        worker.turns.on_given(RequestsGranted(HERE, 1))
        await waiting

    run(scenario)


def test_who_waits_no_more_is_taken_back() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.turns.on_paced(Paced(HERE, True))
        waiting = worker.ask(3)
        await soon()
        waiting[0].cancel()
        await soon()
        assert worker.said == [RequestsWanted(HERE, 3), RequestsWanted(HERE, -1)]
        worker.turns.on_given(RequestsGranted(HERE, 2))
        await asyncio.gather(*waiting[1:])

    run(scenario)


def test_a_long_pause_sends_those_away_who_wait_for_a_turn() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.turns.on_paced(Paced(HERE, True))
        waiting = worker.ask(2)
        await soon()
        worker.turns.on_pause(RegistryPause(HERE, 30.0))
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(ended, NotAskedError)
            assert ended.retry_after_s == pytest.approx(30.0, abs=1)
        assert worker.said == [RequestsWanted(HERE, 2), RequestsWanted(HERE, -2)]

    run(scenario)


def test_a_turn_that_comes_in_a_short_pause_is_not_used() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.turns.on_paced(Paced(HERE, True))
        [waiting] = worker.ask(1)
        await soon()
        worker.turns.on_pause(RegistryPause(HERE, 0.05))
        worker.turns.on_given(RequestsGranted(HERE, 1))
        while len(worker.said) < 2:
            await asyncio.sleep(0.01)
        assert worker.said == [RequestsWanted(HERE, 1), RequestsWanted(HERE, 1)]
        worker.turns.on_given(RequestsGranted(HERE, 1))
        await waiting

    run(scenario)


def test_what_a_registry_says_of_its_limit_is_told_once_and_where_little_is_left() -> None:
    async def scenario() -> None:
        worker = Worker()
        for remaining in (90, 80, 15):
            worker.turns.told(HERE, Allowance(100, 60, remaining, 30))
        assert worker.said == [
            AllowanceReported(HERE, Allowance(100, 60, 90, 30)),
            AllowanceReported(HERE, Allowance(100, 60, 15, 30)),
        ]

    run(scenario)
