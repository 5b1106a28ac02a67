"""Medians, the rule of ties, the knee."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf.noise import SIGNIFICANCE, Spread, find_knee, rank_probability, verdict

VALUES = st.lists(st.integers(0, 50).map(float), min_size=1, max_size=6)


def test_a_spread_has_the_median_the_quartiles_and_the_extremes() -> None:
    spread = Spread.of([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (spread.median, spread.low, spread.high, spread.smallest, spread.largest) == (3.0, 2.0, 4.0, 1.0, 5.0)


def test_one_value_is_its_own_spread_and_none_is_no_spread() -> None:
    assert Spread.of([2.5]).low == Spread.of([2.5]).high == 2.5
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # Complete separation of n against n comes by chance 2 times in (2n over n).
        ([1, 2, 3, 4], [5, 6, 7, 8], 2 / 70),
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 2 / 252),
        # One value out of its place, from the table of U = 1 at 5 against 5.
        ([1, 2, 3, 4, 6], [5, 7, 8, 9, 10], 4 / 252),
        ([1, 4], [2, 3], 1.0),
        ([7, 7, 7], [7, 7, 7], 1.0),
    ],
)
def test_the_rank_test_is_exact(first, second, expected) -> None:
    assert rank_probability(first, second) == pytest.approx(expected)


@given(VALUES, VALUES)
def test_the_rank_test_is_a_probability_that_does_not_mind_who_is_first(first, second) -> None:
    found = rank_probability(first, second)
    assert 0 < found <= 1
    assert found == pytest.approx(rank_probability(second, first))


def test_many_runs_are_judged_by_the_approximation() -> None:
    apart = rank_probability([float(n) for n in range(15)], [float(n + 100) for n in range(15)])
    mixed = rank_probability([float(n) for n in range(0, 30, 2)], [float(n) for n in range(1, 30, 2)])
    assert apart < 0.0001
    assert mixed > 0.5


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1.0], [9.0], "?"),
        ([1.0, 1.2], [1.1, 1.3], "tie"),
        ([1.0, 1.2], [1.3, 1.4], "less"),
        ([1.3, 1.4, 1.5], [1.0, 1.2, 1.1], "more"),
        # One slow run does not make five of them slow, and one out of its place does not make a tie.
        ([1.0, 1.1, 1.2, 1.3, 1.9], [1.8, 2.0, 2.1, 2.2, 2.3], "less"),
        ([1.0, 1.1, 1.2, 1.9, 1.9], [1.05, 1.15, 1.25, 1.8, 2.3], "tie"),
    ],
)
def test_a_difference_within_the_noise_is_a_tie(ours, theirs, expected) -> None:
    assert verdict(Spread.of(ours), Spread.of(theirs)) == expected


@given(st.lists(st.floats(1, 2), min_size=4, max_size=6), st.lists(st.floats(1, 2), min_size=4, max_size=6))
def test_a_verdict_turns_when_the_sides_do(first, second) -> None:
    there, back = verdict(Spread.of(first), Spread.of(second)), verdict(Spread.of(second), Spread.of(first))
    assert (there, back) in [("less", "more"), ("more", "less"), ("tie", "tie")]
    if there != "tie":
        assert rank_probability(first, second) <= SIGNIFICANCE


def test_the_knee_is_the_smallest_setting_within_five_percent_of_the_best() -> None:
    settings = [(1, 4.0), (2, 2.0), (4, 1.04), (8, 1.0), (16, 1.01)]
    assert find_knee(settings) == 2
    assert find_knee([(1, 1.06), (2, 1.0)]) == 1
    assert find_knee([(2, 1.02), (2, 1.0)]) == 1
    with pytest.raises(ValueError, match="no settings"):
        find_knee([])


@given(st.lists(st.tuples(st.integers(1, 64).map(float), st.floats(0.1, 10)), min_size=1, max_size=12))
def test_no_setting_is_smaller_than_the_knee_and_as_good(settings) -> None:
    cost, seconds = settings[find_knee(settings)]
    best = min(second for _, second in settings)
    assert seconds <= best * 1.05
    assert not any(c < cost and s <= best * 1.05 for c, s in settings)


def test_every_tool_begins_a_turn() -> None:
    from perf.compare import order_of_turn

    turns = [order_of_turn(["a", "b", "c"], turn) for turn in range(3)]
    assert {turn[0] for turn in turns} == {"a", "b", "c"}
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert len(list(itertools.chain(*turns))) == 9
