"""What workers and coordinator learn of limits, between a limiter and a pool that only writes down what it is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Settings
from image_syncer.dispatch.pacing import Pacing
from image_syncer.net import Throttle
from image_syncer.registry import Allowance
from image_syncer.scheduling import LeaseLimits, RetryPolicy, Scheduler
from image_syncer.worker.protocol import (
    AllowanceReported,
    Beat,
    Paced,
    Refused,
    RegistryPause,
    RequestsGranted,
    RequestsWanted,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.worker.protocol import Message

HERE, THERE = "registry.example", "other.example"


class Pool:
    def __init__(self) -> None:
        self.said: list[tuple[int | None, Message]] = []
        self.given = asyncio.Event()

    def send(self, worker: int, message: Message) -> None:
        self.said.append((worker, message))
        if isinstance(message, RequestsGranted):
            self.given.set()

    def broadcast(self, message: Message, *, but: int | None = None) -> None:
        self.said.append((None, message))


class Lab:
    def __init__(self) -> None:
        self.pool = Pool()
        self.throttle = Throttle()
        self.scheduler = Scheduler(LeaseLimits(8), RetryPolicy(), lambda: 0.0)
        self.pacing = Pacing(
            self.throttle,
            self.pool,  # type: ignore[arg-type]
            self.scheduler,
            Settings(),
            began_at=asyncio.get_running_loop().time(),
        )

    def hear(self, worker: int, message: Message) -> None:
        """A worker says something."""
        self.pacing.on[type(message)](worker, message)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 10))  # type: ignore[arg-type]


def test_what_one_worker_was_refused_all_of_them_learn() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.hear(1, Refused(HERE, 5.0))
        assert [(to, type(message)) for to, message in lab.pool.said] == [(None, Paced), (None, RegistryPause)]
        pause = lab.pool.said[1][1]
        assert isinstance(pause, RegistryPause)
        assert pause.seconds == pytest.approx(5.0)
        assert lab.throttle.wait_s(HERE, asyncio.get_running_loop().time()) == pytest.approx(5.0, abs=0.5)
        assert lab.pacing.log.as_data()[HERE]["refused"] == 1

    run(scenario)


def test_a_worker_that_is_new_is_told_what_the_others_know() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.hear(1, Refused(HERE, 5.0))
        lab.hear(1, RegistryPause(THERE, 30.0))
        lab.pool.said.clear()
        lab.pacing.inform(7)
        assert {to for to, _ in lab.pool.said} == {7}
        told = [message for _, message in lab.pool.said]
        assert [message.registry for message in told if isinstance(message, Paced) and message.paced] == [HERE]
        pauses = {message.registry: message.seconds for message in told if isinstance(message, RegistryPause)}
        assert pauses == {HERE: pytest.approx(5.0, abs=0.5), THERE: pytest.approx(30.0, abs=0.5)}
        assert lab.pacing.log.as_data()[THERE]["left_alone_s"] == pytest.approx(30.0, abs=0.5)

    run(scenario)


def test_a_worker_gets_the_turns_that_it_wants_and_none_after_it_is_gone() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.hear(1, Refused(HERE, 0.05))
        lab.hear(1, RequestsWanted(HERE, 1000))
        lab.pacing.forget(1)
        lab.hear(2, RequestsWanted(HERE, 1))
        await lab.pool.given.wait()
        assert [said for said in lab.pool.said if isinstance(said[1], RequestsGranted)] == [
            (2, RequestsGranted(HERE, 1))
        ]
        assert lab.pacing.slowed() is None

    run(scenario)


def test_what_a_worker_read_of_a_limit_counts_for_all() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.hear(1, AllowanceReported(HERE, Allowance(100.0, 60.0, 0, 20.0)))
        assert lab.throttle.wait_s(HERE, asyncio.get_running_loop().time()) == pytest.approx(20.0, abs=0.5)
        lab.hear(1, AllowanceReported(THERE, Allowance(100.0, 21600.0, 0, None)))  # Docker Hub
        assert THERE not in lab.throttle.watched

    run(scenario)


def test_other_messages_are_none_of_its_business() -> None:
    async def scenario() -> None:
        assert Beat not in Lab().pacing.on

    run(scenario)


def test_limit_of_one_operation_does_not_bound_the_connections_of_the_registry() -> None:
    async def scenario() -> None:
        lab = Lab()
        bucket = f"{HERE} (put manifest)"
        assert lab.throttle.turns is not None
        lab.throttle.turns.published(bucket, 10.0)
        lab.throttle.turns.published(bucket, 99.0)
        assert lab.pool.said == [(None, Paced(bucket, paced=True))]
        lab.hear(1, Refused(bucket, None))
        lab.pacing.sample()
        assert lab.scheduler.connections.allowed() == {}
        assert lab.pacing.log.as_data()[bucket]["requests_per_s"][-1][1] < 10

    run(scenario)
