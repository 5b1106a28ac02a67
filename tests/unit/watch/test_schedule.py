"""When rounds begin: intervals and cron expressions, over any clock."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.watch.schedule import CronSchedule, IntervalSchedule, Start, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def told(seconds: float, zone: ZoneInfo = BERLIN) -> str:
    return datetime.fromtimestamp(seconds, zone).strftime("%m-%d %H:%M %Z")


def test_an_interval_begins_at_once_and_keeps_its_grid() -> None:
    every = parse_schedule("10m", jitter_s=0)
    assert every.first(100.0) == Start(100.0, 100.0)
    assert every.next_start(100.0, 130.0, 0.9) == Start(700.0, 700.0)


def test_a_round_that_takes_too_long_makes_points_fall_out() -> None:
    every = parse_schedule("10m", jitter_s=0)
    assert every.next_start(0.0, 599.0, 0) == Start(600.0, 600.0, 0)
    assert every.next_start(0.0, 600.0, 0) == Start(1200.0, 1200.0, 1)
    assert every.next_start(0.0, 1850.0, 0) == Start(2400.0, 2400.0, 3)


def test_jitter_moves_the_begin_and_not_the_grid() -> None:
    every = parse_schedule("100s")
    assert isinstance(every, IntervalSchedule)
    assert every.jitter_s == 10
    start = every.next_start(0.0, 1.0, 0.5)
    assert (start.planned, start.at) == (100.0, 105.0)
    assert every.next_start(start.planned, start.at + 1, 0.0).at == 200.0
    long = parse_schedule("1d")
    assert isinstance(long, IntervalSchedule)
    assert long.jitter_s == 60


@given(
    every=st.floats(1, 1e6), planned=st.floats(0, 1e9), took=st.floats(0, 1e7), chance=st.floats(0, 1, exclude_max=True)
)
def test_the_next_round_is_always_ahead_and_never_more_than_one_interval(every, planned, took, chance) -> None:
    schedule = IntervalSchedule("", every, jitter_s=every / 10)
    now = planned + took
    start = schedule.next_start(planned, now, chance)
    slack = 1e-6 * max(now, 1.0)
    assert now - slack <= start.planned <= now + every + slack
    assert start.planned <= start.at <= start.planned + every / 10 + slack


def test_a_cron_expression_waits_for_its_time_from_the_first_round_on() -> None:
    nightly = parse_schedule("30 3 * * *", zone=BERLIN)
    assert nightly.uses_wall_clock
    first = nightly.first(at("2026-05-01 12:00"))
    assert told(first.at) == "05-02 03:30 CEST"
    assert told(nightly.next_start(first.planned, first.at + 60, 0.5).at) == "05-03 03:30 CEST"


def test_cron_times_that_pass_during_a_round_fall_out() -> None:
    often = CronSchedule("*/10 * * * *", BERLIN)
    start = often.next_start(at("2026-05-01 12:00"), at("2026-05-01 12:35"), 0)
    assert (told(start.at), start.left_out) == ("05-01 12:40 CEST", 3)


def test_a_round_that_ends_before_its_time_by_a_clock_that_was_set_back_is_not_run_twice() -> None:
    often = CronSchedule("0 * * * *", BERLIN)
    start = often.next_start(at("2026-05-01 12:00"), at("2026-05-01 11:58"), 0)
    assert told(start.at) == "05-01 13:00 CEST"


def test_a_clock_that_was_years_ahead_holds_nobody_up() -> None:
    often = CronSchedule("0 * * * *", BERLIN)
    assert told(often.next_start(at("2036-05-01 12:00"), at("2026-05-01 11:58"), 0).at) == "05-01 12:00 CEST"


def test_a_clock_that_was_years_behind_costs_no_more_than_a_bounded_count() -> None:
    start = CronSchedule("* * * * *", timezone.utc).next_start(0.0, at("2026-05-01 12:00:30", timezone.utc), 0)
    assert start.at == at("2026-05-01 12:01", timezone.utc)
    assert start.left_out == 1000


def test_summer_time_neither_loses_nor_doubles_a_night() -> None:
    nightly = CronSchedule("30 2 * * *", BERLIN)
    spring = nightly.first(at("2026-03-28 12:00"))  # at 2:30 it is 3:30 at once
    assert told(spring.at) == "03-29 03:00 CEST"
    autumn = nightly.first(at("2026-10-24 12:00"))
    assert told(autumn.at) == "10-25 02:30 CEST"
    assert told(nightly.next_start(autumn.planned, autumn.at + 5, 0).at) == "10-26 02:30 CET"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0s", "is no interval of rounds"),
        ("500ms", "is no interval of rounds"),
        ("400d", "is no interval of rounds"),
        ("soon", "is not a duration"),
        ("* * * *", "write minute, hour"),
        ("0 0 12 * * *", "write minute, hour"),
        ("61 * * * *", "bad minute"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("every ten minutes or so", "bad minute"),
    ],
)
def test_what_is_no_schedule_is_told(text, what) -> None:
    with pytest.raises(ValueError, match=what):
        parse_schedule(text)
