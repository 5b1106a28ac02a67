from __future__ import annotations

import pytest

from image_syncer.registry import Headers
from image_syncer.registry.failures import MAX_RETRY_AFTER_S, parse_http_date, retry_after_s

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "sun, 6 nov 1994 08:49:37 utc",
    ],
)
def test_every_form_of_a_date(text: str) -> None:
    assert parse_http_date(text) == NOW


def test_two_digits_of_a_year_are_near() -> None:
    assert parse_http_date("Friday, 01-Jan-27 00:00:00 GMT") == parse_http_date("Fri, 01 Jan 2027 00:00:00 GMT")


@pytest.mark.parametrize(
    "text",
    ["", "soon", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT", "1994-11-06T08:49:37Z", "6 Nov"],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("99999999", MAX_RETRY_AFTER_S),
        ("9" * 5000, MAX_RETRY_AFTER_S),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:00:00 GMT", MAX_RETRY_AFTER_S),
    ],
)
def test_how_long_to_wait(value: str, expected: float | None) -> None:
    assert retry_after_s(Headers([("Retry-After", value)]), NOW) == expected


def test_without_the_header_nothing_is_said() -> None:
    assert retry_after_s(Headers(), NOW) is None


def test_a_date_counts_from_the_clock_that_wrote_it() -> None:
    fields = [("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT"), ("Date", "Sun, 06 Nov 1994 08:50:07 GMT")]
    assert retry_after_s(Headers(fields), NOW + 5000) == 30.0
    assert retry_after_s(Headers(fields), None) == 30.0
    assert retry_after_s(Headers(fields[:1]), None) is None
