"""How many workers may be replaced: a bound on the rate, not on the whole of a run."""

from __future__ import annotations

from image_syncer.scheduling.retry import RestartBudget

HOUR_S = 3600.0


def test_a_worker_that_dies_every_hour_is_replaced_for_ever() -> None:
    budget = RestartBudget(5, 600.0)
    assert all(budget.try_take(hour * HOUR_S) for hour in range(24 * 30))


def test_workers_that_die_at_once_are_replaced_up_to_the_bound_and_again_when_time_has_passed() -> None:
    budget = RestartBudget(5, 600.0)
    assert [budget.try_take(number * 1.0) for number in range(7)] == [True] * 5 + [False] * 2
    assert not budget.try_take(599.9)
    assert budget.try_take(600.0)  # the first one was at 0
    assert not budget.try_take(600.5)
    assert budget.try_take(601.0)


def test_those_whose_cause_is_found_are_not_counted() -> None:
    budget = RestartBudget(3, 600.0)
    assert [budget.try_take(0.0) for _ in range(4)] == [True, True, True, False]
    budget.forgive(2)
    assert [budget.try_take(1.0) for _ in range(3)] == [True, True, False]
    budget.forgive(100)
    assert budget.try_take(2.0)
