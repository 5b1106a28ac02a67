"""When bytes come out of a line: never early, never past each other, never faster than its rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf.stage.limits import Allowance, Gate
from perf.stage.line import Line, loss_bound_rate
from perf.stage.relay import Weather

entries = st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 100_000)), min_size=1, max_size=50)


@given(entries, st.floats(0, 1), st.floats(1e3, 1e9))
def test_nothing_is_early_and_nothing_overtakes(steps, delay_s, rate) -> None:
    line, now, last, sent = Line(delay_s, rate), 0.0, 0.0, 0
    for pause, size in steps:
        now += pause
        due = line.enter(size, now)
        sent += size
        assert due is not None
        assert due >= max(last, now + delay_s + size * 8 / rate * 0.999)
        assert due - delay_s >= sent * 8 / rate * 0.999  # in all this time, no more than the rate allows
        last = due


def test_loss_is_as_often_as_asked_for_and_the_same_for_the_same_seed() -> None:
    def lost(seed: int) -> list[int]:
        line = Line(0.0, 1e9, loss=0.01, seed=seed)
        return [number for number in range(100_000) if line.enter(1500, number) is None]

    assert lost(1) == lost(1) != lost(2)
    assert 850 < len(lost(1)) < 1150


def test_a_full_queue_loses_what_comes_then() -> None:
    line = Line(0.0, 8000, queue_bytes=2000)
    assert [line.enter(1000, 0.0) for _ in range(5)] == [1.0, 2.0, 3.0, None, None]
    assert (line.overflowed, line.lost) == (2, 0)
    assert line.enter(1000, 1.5) == 4.0


def test_what_one_connection_gets_where_segments_are_lost() -> None:
    assert loss_bound_rate(1448, 0.08, 0.01) == pytest.approx(1.773e6, rel=0.001)
    assert Weather(0.08, 0.0, 5e8).connection_bits_per_s == 5e8
    assert Weather(0.001, 0.000001, 1e6).connection_bits_per_s == 1e6


@given(st.lists(st.tuples(st.floats(0, 0.1), st.integers(1, 10**7)), max_size=50))
def test_an_allowance_is_never_exceeded(steps) -> None:
    allowance, now, passed = Allowance(10**6), 100.0, 0
    allowance.take(1, now)
    for pause, wanted in steps:
        now += pause
        taken = allowance.take(wanted, now)
        assert 0 <= taken <= wanted
        passed += taken
    assert passed <= 10**6 * (now - 100.0) + 20_000 + 1


def test_the_gate_lets_so_many_through_in_each_second() -> None:
    gate = Gate(3, 1.2)
    assert [gate.refuse(50.0 + step / 10) is None for step in range(5)] == [True, True, True, False, False]
    assert b"Retry-After: 2\r\n" in (gate.refuse(50.9) or b"")
    assert gate.refuse(51.0) is None
