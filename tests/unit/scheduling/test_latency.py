from __future__ import annotations

from random import Random

import pytest

from image_syncer.scheduling.connections import CALM_S, FEWEST_WHERE_SLOW, GROWTH_S, ConnectionHost
from image_syncer.scheduling.pacing import LatencyWatch


def verdicts(watch: LatencyWatch, began: float, seconds: float, answers_s: list[float]) -> int:
    """How often it is called slow, where so many answers come every half second."""
    return sum(watch.note(answers_s, began + half / 2) for half in range(int(seconds * 2)))


def test_a_registry_whose_answers_have_become_slow_is_found_within_seconds_and_judged_anew() -> None:
    watch = LatencyWatch()
    assert verdicts(watch, 0.0, 10.0, [0.05] * 5) == 0
    assert 1 <= verdicts(watch, 10.0, 10.0, [1.5] * 5) <= 3
    assert verdicts(watch, 30.0, 20.0, [0.06] * 5) == 0


@pytest.mark.parametrize(
    "answers_s",
    [
        [0.001] * 5 + [3.0] * 5,  # some of them only
        [0.02] * 10,  # many times the best, and still fast
        [0.9] * 10,
    ],
)
def test_what_has_other_reasons_is_no_sign(answers_s: list[float]) -> None:
    watch = LatencyWatch()
    verdicts(watch, 0.0, 5.0, [0.001] * 5)
    assert verdicts(watch, 5.0, 60.0, answers_s) == 0


def test_a_noisy_machine_is_no_sign() -> None:
    watch, chance = LatencyWatch(), Random(7)
    for half in range(2000):
        busy = 20.0 if half % 40 < 6 else 1.0  # for three seconds of twenty
        answers = [0.002 * busy * chance.paretovariate(1.2) for _ in range(10)]
        assert not watch.note(answers, half / 2)


def test_a_registry_that_was_always_slow_is_not_judged() -> None:
    assert verdicts(LatencyWatch(), 0.0, 60.0, [2.0, 2.5, 3.0]) == 0


def test_few_answers_say_nothing() -> None:
    watch = LatencyWatch()
    verdicts(watch, 0.0, 5.0, [0.01] * 5)
    assert verdicts(watch, 10.0, 60.0, [9.0]) == 0


def test_a_slow_registry_gets_a_quarter_less_but_never_few_and_all_again_in_time() -> None:
    host = ConnectionHost(None)
    host.held = [0, 64]
    assert host.slowed(0.0)
    assert host.allowed == 48
    assert not host.slowed(CALM_S / 2)
    host.held = [0, 48]
    for round_ in range(1, 20):
        host.slowed(round_ * GROWTH_S / 2)
        host.held = [0, host.allowed or 0]
    assert host.allowed == FEWEST_WHERE_SLOW
    assert host.recover(1000.0)
    assert host.allowed is None


def test_a_bound_of_the_user_that_is_lower_stays() -> None:
    host = ConnectionHost(4)
    host.held = [0, 4]
    assert not host.slowed(0.0)
    assert host.allowed == 4
