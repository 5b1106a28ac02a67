"""The driver's timer: libcurl puts it off with every request, and ours is set as seldom as can be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.net import CurlDriver

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """In place of the loop: what is asked of it is kept, and nothing happens by itself."""

    def __init__(self) -> None:
        self.now = 100.0
        self.alarms: list[Alarm] = []
        self.soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, ring: Callable[[], None]) -> Alarm:
        self.alarms.append(Alarm(when, ring))
        return self.alarms[-1]

    def call_soon(self, ring: Callable[[], None]) -> None:
        self.soon.append(ring)

    @property
    def set_to(self) -> list[float]:
        """When alarms go off that were not cancelled."""
        return [alarm.at for alarm in self.alarms if not alarm.is_cancelled]

    def ring(self) -> None:
        """Let the time of the one alarm that is left come."""
        [alarm] = [alarm for alarm in self.alarms if not alarm.is_cancelled]
        self.alarms.clear()
        self.now = alarm.at
        alarm.ring()


def with_driver(check: Callable[[CurlDriver, Clock], None]) -> None:
    async def scenario() -> None:
        driver = CurlDriver()
        loop, clock = driver._loop, Clock()
        driver._loop = clock  # type: ignore[assignment]
        check(driver, clock)
        driver._loop = loop
        driver.close()

    asyncio.run(scenario())


def test_a_timer_that_is_put_off_is_not_set_anew_until_it_goes_off() -> None:
    def check(driver: CurlDriver, clock: Clock) -> None:
        for seconds in (10, 12, 15):
            driver._on_timer(seconds * 1000)
        assert [alarm.at for alarm in clock.alarms] == [110.0]
        clock.ring()
        assert clock.set_to == [115.0]
        clock.ring()  # libcurl has nothing to do, and wants no timer any more
        assert clock.set_to == []

    with_driver(check)


def test_a_timer_that_is_wanted_sooner_is_set_anew() -> None:
    def check(driver: CurlDriver, clock: Clock) -> None:
        driver._on_timer(10_000)
        driver._on_timer(1_000)
        assert clock.set_to == [101.0]
        clock.ring()
        assert clock.set_to == []

    with_driver(check)


def test_a_timer_that_is_not_wanted_any_more_goes_off_for_nothing() -> None:
    def check(driver: CurlDriver, clock: Clock) -> None:
        driver._on_timer(10_000)
        driver._on_timer(-1)
        clock.ring()
        assert (clock.set_to, clock.soon) == ([], [])

    with_driver(check)


def test_at_once_is_once_for_everyone() -> None:
    def check(driver: CurlDriver, clock: Clock) -> None:
        for _ in range(3):
            driver._on_timer(0)
        assert (len(clock.soon), clock.set_to) == (1, [])
        clock.soon.pop()()
        driver._on_timer(0)
        assert len(clock.soon) == 1

    with_driver(check)
