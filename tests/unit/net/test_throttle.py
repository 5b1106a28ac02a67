from __future__ import annotations

import pytest

from image_syncer.net import Throttle
from image_syncer.net.request_limiter import SHORTEST_PAUSE_S

HERE, THERE = "registry.example", "other.example"


def test_nothing_is_waited_for_at_first() -> None:
    assert Throttle().wait_s(HERE, 100.0) == 0.0


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, SHORTEST_PAUSE_S),
        (0.0, SHORTEST_PAUSE_S),
        (0.01, SHORTEST_PAUSE_S),
        (7.5, 7.5),
        (86_400.0, 86_400.0),
    ],
)
def test_a_pause_lasts_as_long_as_was_asked(asked: float | None, given: float) -> None:
    throttle = Throttle()
    assert throttle.pause(HERE, asked, 100.0) == pytest.approx(given)
    assert throttle.wait_s(HERE, 100.0) == pytest.approx(given)
    assert throttle.wait_s(HERE, 100.0 + given / 2) == pytest.approx(given / 2)
    assert throttle.wait_s(HERE, 100.0 + given) == 0.0
    assert throttle.wait_s(HERE, 100_000.0) == 0.0


def test_the_longest_pause_is_told() -> None:
    throttle = Throttle()
    assert throttle.longest(100.0) is None
    throttle.pause(HERE, 10.0, 100.0)
    throttle.pause(THERE, 20.0, 100.0)
    assert throttle.longest(105.0) == (THERE, pytest.approx(15.0))
    assert throttle.longest(121.0) is None


def test_a_pause_is_prolonged_and_never_shortened() -> None:
    throttle = Throttle()
    throttle.pause(HERE, 10.0, 100.0)
    assert throttle.pause(HERE, 2.0, 101.0) == pytest.approx(9.0)
    assert throttle.pause(HERE, 30.0, 101.0) == pytest.approx(30.0)
    assert throttle.wait_s(HERE, 101.0) == pytest.approx(30.0)


def test_a_pause_is_for_one_registry() -> None:
    throttle = Throttle()
    throttle.pause(HERE, 10.0, 100.0)
    assert throttle.wait_s(THERE, 100.0) == 0.0
