from __future__ import annotations

from datetime import datetime

import pytest

from image_syncer.config import RateSchedule, RateWindow

MB = 10**6
MONDAY, FRIDAY, SATURDAY, SUNDAY = 23, 27, 28, 29  # of November 2026


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute)  # noqa: DTZ001 - the local time of the machine


def rates(text: str, *moments: datetime) -> list[float | None]:
    schedule = RateSchedule.parse(text)
    assert schedule is not None
    return [schedule.rate_at(moment) for moment in moments]


def test_one_rate_holds_at_any_time() -> None:
    assert rates("200MB/s", at(MONDAY, 0), at(SUNDAY, 23, 59)) == [200 * MB, 200 * MB]


def test_the_first_item_that_covers_the_moment_counts() -> None:
    text = "mon-fri 08:00-18:00=50MB/s, sat=none, 500MB/s"
    moments = (at(MONDAY, 7, 59), at(MONDAY, 8), at(FRIDAY, 17, 59), at(FRIDAY, 18), at(SATURDAY, 12), at(SUNDAY, 12))
    assert rates(text, *moments) == [500 * MB, 50 * MB, 50 * MB, 500 * MB, None, 500 * MB]


def test_hours_go_on_into_the_next_day_and_belong_to_the_day_on_which_they_begin() -> None:
    text = "fri 22:00-06:00=5MB/s,1MB/s"
    moments = (at(FRIDAY, 5), at(FRIDAY, 22), at(SATURDAY, 0), at(SATURDAY, 5, 59), at(SATURDAY, 6), at(SATURDAY, 23))
    assert rates(text, *moments) == [MB, 5 * MB, 5 * MB, 5 * MB, MB, MB]


def test_what_no_item_covers_has_no_limit() -> None:
    assert rates("08:00-18:00=1MB/s", at(MONDAY, 9), at(MONDAY, 18)) == [MB, None]


def test_days_may_go_over_the_end_of_the_week() -> None:
    moments = (at(FRIDAY, 1), at(SUNDAY, 1), at(MONDAY, 1), at(MONDAY + 1, 1))
    assert rates("fri-mon=1MB/s", *moments) == [MB, MB, MB, None]


@pytest.mark.parametrize("text", ["none", "0", "mon=none,08:00-10:00=0"])
def test_what_limits_nothing_is_no_schedule(text: str) -> None:
    assert RateSchedule.parse(text) is None


@pytest.mark.parametrize(
    "text", ["200MB/s", "1GiB/s", "1500B/s", "mon-fri 08:00-18:00=50MB/s,500MB/s", "sat=none,22:00-24:00=3KiB/s"]
)
def test_a_schedule_is_shown_as_it_is_read(text: str) -> None:
    assert str(RateSchedule.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a rate"),
        ("fast", "is not a rate"),
        ("200", "is too slow: the least is 1000 bytes a second"),
        ("0.5B/s", "is too slow: the least is 1000 bytes a second"),
        ("1MB/s,2MB/s", "what comes after '1MB/s' never counts"),
        ("08:00=1MB/s", "is not a rate with its time"),
        ("25:00-26:00=1MB/s", "'25:00' is not a time of day"),
        ("24:30-25:00=1MB/s", "'24:30' is not a time of day"),
        ("08:00-08:00=1MB/s", "08:00-08:00 is no time"),
        ("mon-xyz=1MB/s", "'mon-xyz' is not a range of days"),
        ("monday 08:00-18:00=1MB/s", "'monday' is not a range of days"),
        ("=1MB/s", "is not a rate with its time"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        RateSchedule.parse(text)


def test_a_range_of_all_days_is_every_day_wherever_it_begins() -> None:
    schedule = RateSchedule.parse("wed-tue=1MB/s")
    assert schedule == RateSchedule((RateWindow(MB),))
