"""The limiter that hands out allowances, with a pool that only writes down what it is given and a clock of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from image_syncer.config import Limits, RateSchedule
from image_syncer.dispatch.pacing import BandwidthLimiter
from image_syncer.scheduling import LeaseLimits, RetryPolicy, Scheduler
from image_syncer.worker.protocol import BytesGranted, BytesWanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HERE, THERE = "here.example", "there.example"


class Lab:
    def __init__(self, rate: str | None = None, **limits: str) -> None:
        self.local = datetime(2026, 11, 25, 7, 59)  # noqa: DTZ001 - the local time of the machine
        self.given: Counter[tuple[int, str, bool]] = Counter()
        self.greedy = False
        self.rates: list[tuple[str | None, float | None]] = []
        self.scheduler = Scheduler(LeaseLimits(8, proc=100), RetryPolicy(), lambda: 0.0)
        self.limiter = BandwidthLimiter(
            RateSchedule.parse(rate) if rate else None,
            {f"{name}.example": Limits(rate=RateSchedule.parse(text)) for name, text in limits.items()},
            self.scheduler,
            give=self._give,
            on_rate=lambda registry, in_force: self.rates.append((registry, in_force)),
            local_time=lambda: self.local,
        )

    def _give(self, worker: int, message: BytesGranted) -> None:
        self.given[worker, message.registry, message.sending] += message.size
        if self.greedy:
            self.want(worker, message.registry, sending=message.sending)

    def want(self, worker: int, registry: str, *, sending: bool = False) -> None:
        self.limiter.on[BytesWanted](worker, BytesWanted(registry, sending))

    async def until(self, size: int) -> float:
        """Returns when so much was given in all: the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while sum(self.given.values()) < size:
            await asyncio.sleep(0.005)
        return loop.time() - began


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))  # type: ignore[arg-type]


def test_no_more_than_the_rate_is_given_however_much_is_wanted() -> None:
    async def scenario() -> None:
        lab = Lab("1MB/s")
        lab.greedy = True
        lab.want(1, HERE)
        lab.want(2, THERE)
        seconds = await lab.until(500_000)
        assert seconds >= 0.45
        assert abs(lab.given[1, HERE, False] - lab.given[2, THERE, False]) <= 10_000
        assert lab.limiter.held_to() == 1e6

    run(scenario)


def test_a_change_by_the_time_of_day_holds_at_once_and_is_told() -> None:
    async def scenario() -> None:
        lab = Lab("08:00-18:00=1GB/s,1KB/s")
        lab.want(1, HERE)
        await asyncio.sleep(0.1)
        assert not lab.given  # a quantum takes four seconds
        lab.local = lab.local.replace(hour=8, minute=0)
        lab.limiter.sample()
        await lab.until(1)
        assert lab.rates == [(None, 1e3), (None, 1e9)]

    run(scenario)


def test_low_rates_have_fewer_blobs_moved_at_a_time_and_the_users_bound_stays() -> None:
    async def scenario() -> None:
        lab = Lab("08:00-18:00=100KB/s,1MB/s", here="200KB/s")
        assert lab.scheduler._slots.most == 15
        assert lab.scheduler.connections.allowed() == {HERE: 3}
        lab.local = lab.local.replace(hour=8)
        lab.limiter.sample()
        assert lab.scheduler._slots.most == 2
        assert (lab.limiter.streams_for(HERE), lab.limiter.streams_for(THERE)) == (2, 2)
        open_ended = Lab("1GB/s")
        assert open_ended.scheduler._slots.most == 100
        assert open_ended.limiter.streams_for(HERE) is None

    run(scenario)


def test_without_limits_nothing_is_told_and_nobody_needs_a_purse() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.limiter.sample()
        assert lab.rates == []
        assert lab.limiter.own_budgets(None) is None  # type: ignore[arg-type]
        assert lab.limiter.held_to() is None

    run(scenario)


def test_a_worker_that_is_gone_gets_nothing_and_what_is_given_back_counts() -> None:
    async def scenario() -> None:
        lab = Lab("100KB/s")
        lab.want(1, HERE)
        lab.limiter.forget(1)
        lab.limiter.on[BytesGranted](2, BytesGranted(HERE, sending=False, size=4096))
        lab.want(2, HERE)
        await lab.until(1)
        assert set(lab.given) == {(2, HERE, False)}
        assert set(lab.limiter.on) == {BytesWanted, BytesGranted}

    run(scenario)
