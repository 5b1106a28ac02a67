"""The limiter that gives turns, on a loop of its own; waits are a few hundredths of a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import NotAskedError
from image_syncer.net import LimiterEvents, LocalRequestLimiter, Throttle
from image_syncer.registry import Allowance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HERE, THERE = "registry.example", "other.example"
PAUSE_S = 0.05


class LimiterLab:
    """A limiter, and what it told."""

    def __init__(self, longest_wait_s: float = 1.0) -> None:
        self.throttle = Throttle()
        self.given: Counter[int] = Counter()
        self.order: list[int] = []
        self.paused: list[float] = []
        self.paced: list[bool] = []
        self.refused: list[float] = []
        self.enough = asyncio.Event()
        self.awaited = 0
        self.limiter = LocalRequestLimiter(
            self.throttle,
            longest_wait_s=longest_wait_s,
            events=LimiterEvents(
                on_given=self.on_given,
                on_paused=lambda _registry, seconds: self.paused.append(seconds),
                on_paced=lambda _registry, paced: self.paced.append(paced),
                on_refused=lambda _registry, rate: self.refused.append(rate),
            ),
        )

    def on_given(self, worker: int, _registry: str, turns: int) -> None:
        self.given[worker] += turns
        self.order += [worker] * turns
        if sum(self.given.values()) >= self.awaited:
            self.enough.set()

    async def until_given(self, turns: int) -> None:
        self.awaited = turns
        await asyncio.wait_for(self.enough.wait(), 10)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))  # type: ignore[arg-type]


def test_nothing_is_paced_before_a_refusal_and_only_that_registry_afterwards() -> None:
    async def scenario() -> None:
        lab = LimiterLab()
        await lab.throttle.wait_for_turn(HERE, 1.0)
        assert (lab.throttle.watched, lab.limiter.pacers, lab.paced) == (set(), {}, [])
        lab.limiter.refused(HERE, PAUSE_S)
        assert (lab.throttle.watched, list(lab.limiter.pacers), lab.paced) == ({HERE}, [HERE], [True])
        assert lab.paused == [pytest.approx(PAUSE_S)]
        assert len(lab.refused) == 1

    run(scenario)


def test_two_workers_and_the_coordinator_share_one_rate_and_none_of_them_waits_behind_the_others() -> None:
    async def scenario() -> None:
        lab = LimiterLab()
        loop = asyncio.get_running_loop()
        lab.limiter.refused(HERE, PAUSE_S)
        lab.limiter.want(1, HERE, 40)
        lab.limiter.want(2, HERE, 40)
        ours = [asyncio.ensure_future(lab.throttle.wait_for_turn(HERE, 1.0)) for _ in range(5)]
        began = loop.time()
        await asyncio.gather(*ours)
        assert abs(lab.given[1] - lab.given[2]) <= 1
        assert lab.given[1] <= 7  # five of ours went in between
        await lab.until_given(30)
        pacer = lab.limiter.pacers[HERE]
        assert sum(lab.given.values()) + 5 <= (loop.time() - began) * pacer.rate + 2

    run(scenario)


def test_the_turns_of_a_worker_that_is_gone_go_to_the_others() -> None:
    async def scenario() -> None:
        lab = LimiterLab()
        lab.limiter.refused(HERE, PAUSE_S)
        lab.limiter.want(1, HERE, 1000)
        lab.limiter.want(2, HERE, 10)
        lab.limiter.forget(1)
        await lab.until_given(10)
        assert lab.given == {2: 10}

    run(scenario)


def test_who_waits_no_more_gets_no_turn() -> None:
    async def scenario() -> None:
        lab = LimiterLab()
        lab.limiter.refused(HERE, PAUSE_S)
        gone = [asyncio.ensure_future(lab.limiter.take(HERE)) for _ in range(20)]
        stays = asyncio.ensure_future(lab.limiter.take(HERE))
        await asyncio.sleep(0)
        for one in gone:
            one.cancel()
        lab.limiter.want(1, HERE, 3)
        lab.limiter.want(1, HERE, -2)
        await asyncio.wait_for(stays, 1.0)  # at 16 a second the others would take longer
        await lab.until_given(1)
        assert lab.given == {1: 1}

    run(scenario)


def test_a_pause_that_is_too_long_is_waited_for_by_nobody() -> None:
    async def scenario() -> None:
        lab = LimiterLab(longest_wait_s=1.0)
        lab.limiter.refused(HERE, PAUSE_S)
        waiting = [asyncio.ensure_future(lab.throttle.wait_for_turn(HERE, 1.0)) for _ in range(3)]
        await asyncio.sleep(2 * PAUSE_S)
        lab.limiter.refused(HERE, 100.0)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert any(isinstance(one, NotAskedError) for one in ended)
        assert lab.paused[-1] == pytest.approx(100.0)
        with pytest.raises(NotAskedError) as caught:
            await lab.throttle.wait_for_turn(HERE, 1.0)
        assert caught.value.retry_after_s == pytest.approx(100.0, abs=1)

    run(scenario)


def test_a_registry_that_takes_everything_is_paced_no_more() -> None:
    async def scenario() -> None:
        lab = LimiterLab()
        lab.limiter.told(HERE, Allowance(limit=100_000, window_s=1.0, remaining=99_999))
        lab.limiter.refused(HERE, PAUSE_S)
        await asyncio.sleep(PAUSE_S)
        lab.limiter.want(1, HERE, 50)
        await lab.until_given(50)
        assert (lab.paced, lab.limiter.pacers) == ([True, False], {})
        await lab.throttle.wait_for_turn(HERE, 1.0)
        assert lab.throttle.watched == set()
        lab.limiter.want(1, HERE, 2)  # from before the worker heard of it
        assert lab.given == {1: 52}

    run(scenario)


@pytest.mark.parametrize(
    ("allowance", "paused", "paced"),
    [
        (Allowance(100, 60, 0, 0.5), True, True),  # all is used, and soon there is more
        (Allowance(100, 60, 5, 0.5), False, True),  # little is left
        (Allowance(100, 60, 50, 0.5), False, False),
        (Allowance(100, 21600, 0, None), False, False),  # Docker Hub: HEAD is free, and when there is more nobody knows
        (Allowance(100, 21600, 0, 5000.0), False, False),  # longer than we would wait: it will refuse
        (Allowance(None, None, None, 5.0), False, False),
    ],
)
def test_what_a_registry_says_of_its_limit_is_heeded_before_it_refuses(
    allowance: Allowance, paused: bool, paced: bool
) -> None:
    async def scenario() -> None:
        lab = LimiterLab()
        lab.limiter.told(HERE, allowance)
        assert lab.paced == ([True] if paced else [])
        assert lab.paused == ([pytest.approx(allowance.reset_s)] if paused else [])
        if paced and not paused:
            lab.limiter.want(1, HERE, 100)
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(0.3)
            passed_s = asyncio.get_running_loop().time() - began
            assert 1 <= lab.given[1] <= 2 + 10 * passed_s  # five in half a second

    run(scenario)
