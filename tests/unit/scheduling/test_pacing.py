from __future__ import annotations

import itertools

import pytest

from image_syncer.scheduling import Pacer
from image_syncer.scheduling.pacing import CALM_S, FIRST_PAUSE_S, FIRST_RATE, FREE_RATE, LONGEST_PAUSE_S
from support.paced_registry import simulate


def drain(pacer: Pacer, now: float, seconds: float, step_s: float = 0.01) -> int:
    """How many turns it gives to somebody who wants all of them."""
    steps = round(seconds / step_s)
    return sum(pacer.take(1000, now + step * step_s) for step in range(1, steps + 1))


@pytest.mark.parametrize("retry_after_s", [None, 1.0])
@pytest.mark.parametrize("burst", [10, 100])
@pytest.mark.parametrize("per_s", [5, 50, 500])
def test_a_limit_is_used_and_hardly_exceeded(per_s: float, burst: int, retry_after_s: float | None) -> None:
    """What is promised of 50 a second, for others too: over the second half of a minute at least nine tenths of what is
    allowed, and less than a tenth of that refused.
    """
    for seed in range(3):
        outcome = simulate(per_s, burst=burst, retry_after_s=retry_after_s, seed=seed, late_s=0.02)
        assert outcome.rate(30, 60) >= 0.9 * per_s, outcome.pacer
        assert outcome.refused_part(30, 60) < 0.1, outcome.pacer


@pytest.mark.parametrize("retry_after_s", [None, 1.0])
def test_the_same_over_a_long_way(retry_after_s: float | None) -> None:
    for seed in range(3):
        outcome = simulate(50, retry_after_s=retry_after_s, way_s=0.1, seed=seed)
        assert outcome.rate(30, 60) >= 45, outcome.pacer
        assert outcome.refused_part(30, 60) < 0.1


def test_a_limit_without_any_burst_and_one_of_a_request_a_second_are_lived_with() -> None:
    for per_s in (1, 5):
        outcome = simulate(per_s, burst=1, seconds=120)
        assert outcome.rate(60, 120) >= 0.65 * per_s, outcome.pacer
        assert outcome.refused_part(60, 120) < 0.15


def test_a_registry_that_asks_for_long_pauses_is_asked_again_the_more_rarely() -> None:
    outcome = simulate(50, retry_after_s=10.0, seconds=600)
    assert outcome.rate(300, 600) >= 36, outcome.pacer
    assert outcome.refused_part(300, 600) < 0.01
    pauses = sorted(outcome.refused)
    gaps = [after - before for before, after in itertools.pairwise(pauses) if after - before > 1]
    assert min(gaps) >= 10


def test_a_limit_that_is_raised_is_found_and_one_that_is_lowered_too() -> None:
    raised = simulate(20, seconds=180, change=(60, 60))
    assert raised.rate(150, 180) >= 45, raised.pacer
    lowered = simulate(60, seconds=120, change=(60, 20))
    assert lowered.rate(90, 120) >= 17, lowered.pacer
    assert lowered.refused_part(90, 120) < 0.1


def test_one_refusal_out_of_the_blue_costs_some_seconds_and_then_nothing() -> None:
    pacer = Pacer(0.0)
    assert pacer.refused(1.0, 0.0) == 1.0
    assert drain(pacer, 0.0, 1.0) == 0
    assert drain(pacer, 1.0, 12.0) > 5000
    assert pacer.is_free


def test_what_is_said_of_the_limit_is_where_it_begins() -> None:
    assert Pacer(0.0).rate == FIRST_RATE
    assert Pacer(0.0, asked=8.0).rate == FIRST_RATE
    assert Pacer(0.0, asked=1000.0).rate == 250.0
    assert Pacer(0.0, asked=1e9).rate < FREE_RATE
    assert Pacer(0.0, allowed=100.0).rate == pytest.approx(95.0)
    pacer = Pacer(0.0, allowed=100.0)
    assert 90 * 20 <= drain(pacer, 0.0, 20.0) <= 100 * 20


def test_nobody_asks_during_a_pause_and_it_is_prolonged_but_not_shortened() -> None:
    pacer = Pacer(0.0)
    assert pacer.refused(5.0, 0.0) == 5.0
    assert pacer.refused(2.0, 1.0) == pytest.approx(4.0)
    assert pacer.refused(9.0, 2.0) == pytest.approx(9.0)
    assert pacer.wait_s(2.0) >= 9.0
    assert drain(pacer, 2.0, 8.9) == 0
    assert drain(pacer, 10.9, 1.0) > 0
    assert pacer.left_alone_s == pytest.approx(11.0)


def test_what_was_under_way_is_refused_too_and_is_the_same_refusal() -> None:
    pacer = Pacer(0.0)
    pacer.refused(None, 0.0)
    drain(pacer, 0.0, 3.0)
    rate = pacer.rate
    pacer.refused(None, 3.0)
    lower = pacer.rate
    assert lower < rate
    for at in range(10):
        pacer.refused(None, 3.0 + at * CALM_S / 20)
    pacer.refused(None, 10.0)  # nothing was sent since the pause
    assert (pacer.refusals, pacer.events) == (13, 2)
    assert pacer.rate == pytest.approx(lower, rel=0.02)


def test_where_nothing_goes_through_the_pauses_grow() -> None:
    pacer = Pacer(0.0)
    now, pauses = 0.0, []
    for _ in range(12):
        pauses.append(pacer.refused(None, now))
        now += pauses[-1] + CALM_S
        now += pacer.wait_s(now)
        assert pacer.take(1, now) == 1
        now += CALM_S
    assert pauses[0] == FIRST_PAUSE_S * 2
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_what_nobody_uses_does_not_grow() -> None:
    pacer = Pacer(0.0)
    pacer.refused(1.0, 0.0)
    for second in range(2, 600):
        assert pacer.take(1, float(second)) == 1
    assert pacer.rate < FIRST_RATE * 2
    assert not pacer.is_binding


def test_what_is_left_is_spread_until_there_is_more() -> None:
    pacer = Pacer(0.0, allowed=100.0)
    pacer.spread(10, 20.0, 0.0)
    assert 9 <= drain(pacer, 0.0, 20.0) <= 11
    assert drain(pacer, 20.0, 10.0) > 800


def test_it_is_never_faster_than_what_we_could_ask() -> None:
    pacer = Pacer(0.0)
    drain(pacer, 0.0, 100.0, step_s=0.1)
    assert pacer.rate == FREE_RATE


def test_it_explains_itself() -> None:
    pacer = Pacer(0.0)
    assert repr(pacer) == "<Pacer 16 a second, plateau none yet, 0 refused>"


def test_a_bound_of_the_users_is_used_from_the_first_second_on_and_never_exceeded() -> None:
    pacer = Pacer(0.0, most=50)
    for second in range(60):
        assert drain(pacer, second, 1.0) == pytest.approx(50, abs=6)
    assert pacer.rate == 50


def test_a_registry_that_takes_less_than_the_user_allows_is_asked_less() -> None:
    pacer = Pacer(0.0, most=50)
    drain(pacer, 0.0, 5.0)
    pacer.refused(None, 5.0)
    drain(pacer, 5.0, 2.0)
    pacer.refused(None, 7.0)
    assert pacer.rate < 50
    drain(pacer, 7.0, 120.0)
    assert pacer.rate == 50


def test_what_the_registry_says_it_allows_counts_within_the_users_bound() -> None:
    assert Pacer(0.0, allowed=100, most=20).rate == 20
    assert Pacer(0.0, allowed=10, most=20).rate < 10


def test_however_high_the_users_bound_is_it_stays_in_force() -> None:
    assert not Pacer(0.0, most=2 * FREE_RATE).is_free
