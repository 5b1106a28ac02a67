from __future__ import annotations

import pytest

from image_syncer.registry import Allowance, Headers, parse_allowance

DATE = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT")  # 784111777


@pytest.mark.parametrize(
    ("fields", "allowance"),
    [
        # Docker Hub
        (
            [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")],
            Allowance(100, 21600, 76, None),
        ),
        ([("RateLimit-Limit", "200;w=21600"), ("RateLimit-Remaining", "0;w=21600")], Allowance(200, 21600, 0, None)),
        # the drafts of the IETF
        (
            [("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "50"), ("RateLimit-Reset", "30")],
            Allowance(100, 60, 50, 30),
        ),
        ([("RateLimit", "limit=100, remaining=50, reset=30")], Allowance(100, None, 50, 30)),
        (
            [("RateLimit", '"default";r=50;t=30'), ("RateLimit-Policy", '"default";q=100;w=60')],
            Allowance(100, 60, 50, 30),
        ),
        (
            [
                ("RateLimit", '"hour";r=900;t=3000, "burst";r=3;t=1'),
                ("RateLimit-Policy", '"hour";q=1000;w=3600, "burst";q=10;w=1'),
            ],
            Allowance(10, 1, 3, 1),
        ),
        ([("RateLimit", '"default";r=50')], Allowance(None, None, 50, None)),
        # a date instead of seconds
        (
            [("X-RateLimit-Limit", "60"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1784111777"), DATE],
            Allowance(60, None, 0, 1_000_000_000),
        ),
        (
            [("RateLimit-Limit", "60"), ("RateLimit-Remaining", "1"), ("RateLimit-Reset", "1000000090")],
            Allowance(60, None, 1, 90),
        ),
        # what says nothing
        ([], None),
        ([("RateLimit-Limit", "100")], None),
        ([("RateLimit", "whatever")], None),
        ([("RateLimit-Remaining", "many")], None),
        ([("RateLimit", '"default";q=;r=x')], None),
    ],
)
def test_every_form_is_read(fields: list[tuple[str, str]], allowance: Allowance | None) -> None:
    assert parse_allowance(Headers(fields), 1_000_000_000.0) == allowance


def test_the_rate_that_can_be_kept_up() -> None:
    assert Allowance(100, 50, 3, 1).per_s == 2
    assert Allowance(100, None, 3, 1).per_s is None
    assert Allowance(0, 50, 3, 1).per_s is None


def test_a_date_that_nothing_is_compared_with_says_nothing() -> None:
    fields = [("RateLimit-Limit", "60"), ("RateLimit-Remaining", "1"), ("RateLimit-Reset", "1000000090")]
    assert parse_allowance(Headers(fields)) == Allowance(60, None, 1, None)


def test_whether_a_head_speaks_of_limits_is_seen_without_taking_it_apart() -> None:
    assert "ratelimit" in Headers(text="Content-Length: 2\r\nX-RateLimit-Remaining: 5\r\n").text.lower()
    assert "ratelimit" not in Headers(text="Content-Length: 2\r\n").text.lower()
    assert "ratelimit" in Headers([("RATELIMIT", '"default";r=5')]).text.lower()
    assert Headers().text == ""
