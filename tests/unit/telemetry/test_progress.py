from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.telemetry import RateMeter


def test_a_steady_counter_has_its_rate() -> None:
    meter = RateMeter()
    for tick in range(80):
        meter.update(now_s=tick * 0.25, total_bytes=tick * 250)
    assert meter.bytes_per_s(now_s=79 * 0.25) == pytest.approx(1000)


def test_the_rate_is_of_the_window_and_not_of_the_whole_run() -> None:
    meter = RateMeter(window_s=10)
    meter.update(0, 0)
    meter.update(100, 1_000_000)
    for second in range(101, 121):
        meter.update(second, 1_000_000 + (second - 100) * 10)
    assert meter.bytes_per_s(120) == pytest.approx(10)


def test_a_stall_shows() -> None:
    meter = RateMeter(window_s=10)
    for second in range(11):
        meter.update(second, second * 100)
    rates = [meter.bytes_per_s(now_s) for now_s in (10, 12, 15, 19)]
    assert rates == sorted(rates, reverse=True)
    assert meter.bytes_per_s(30) == 0


def test_a_transfer_that_starts_again_gives_no_negative_rate() -> None:
    meter = RateMeter()
    meter.update(0, 0)
    meter.update(5, 5000)
    meter.update(6, 1000)
    assert meter.bytes_per_s(6) == 0
    meter.update(8, 3000)
    assert meter.bytes_per_s(8) == 1000


def test_there_is_no_rate_before_there_is_time() -> None:
    meter = RateMeter()
    assert meter.bytes_per_s(0) == 0
    meter.update(0, 0)
    meter.update(0.001, 1_000_000)
    assert meter.bytes_per_s(0.001) == 0


@given(st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 10**9)), max_size=400))
def test_a_meter_is_small_and_its_rate_is_possible(steps: list[tuple[float, int]]) -> None:
    meter = RateMeter(window_s=10)
    now_s, total, fastest = 0.0, 0, 0
    for seconds, size in steps:
        now_s += seconds
        total += size
        fastest = max(fastest, total)
        meter.update(now_s, total)
        assert len(meter._samples) <= 10 / 0.25 + 3
        assert 0 <= meter.bytes_per_s(now_s) <= fastest / 0.5
