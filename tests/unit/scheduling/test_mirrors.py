from __future__ import annotations

from image_syncer.errors import IntegrityError, NotFoundError, Origin, RateLimitedError, TransportError
from image_syncer.net.client import FIRST_REST_S, LONGEST_REST_S, Mirrors

MIRROR = "mirror.example"
BROKEN = TransportError("reset", origin=Origin.SOURCE, phase="receive")
MISSING = NotFoundError("no such blob", origin=Origin.SOURCE, status=404)
WRONG = IntegrityError("other bytes", origin=Origin.SOURCE, expected="a", actual="b")


def test_a_mirror_that_lacks_something_is_asked_for_the_next_thing() -> None:
    mirrors = Mirrors()
    mirrors.failed(MIRROR, MISSING, 0.0)
    assert mirrors.is_usable(MIRROR, 0.0)


def test_one_that_fails_rests_and_longer_each_time_until_it_gives_something() -> None:
    mirrors, now = Mirrors(), 0.0
    for rest_s in (FIRST_REST_S, 2 * FIRST_REST_S, 4 * FIRST_REST_S):
        mirrors.failed(MIRROR, BROKEN, now)
        mirrors.failed(MIRROR, BROKEN, now)  # what was under way fails too, and says nothing new
        assert not mirrors.is_usable(MIRROR, now + rest_s - 1)
        now += rest_s
        assert mirrors.is_usable(MIRROR, now)
    mirrors.came(MIRROR, 10)
    mirrors.failed(MIRROR, BROKEN, now)
    assert mirrors.is_usable(MIRROR, now + FIRST_REST_S)


def test_no_rest_is_longer_than_the_longest_unless_the_mirror_asks_for_it() -> None:
    mirrors, now = Mirrors(), 0.0
    for _ in range(20):
        mirrors.failed(MIRROR, BROKEN, now)
        now += LONGEST_REST_S
        assert mirrors.is_usable(MIRROR, now)
    mirrors.failed(MIRROR, RateLimitedError("wait", origin=Origin.SOURCE, status=429, retry_after_s=3600.0), now)
    assert not mirrors.is_usable(MIRROR, now + 3599)


def test_one_that_gave_wrong_bytes_is_asked_no_more() -> None:
    mirrors = Mirrors()
    mirrors.failed(MIRROR, WRONG, 0.0)
    assert not mirrors.is_usable(MIRROR, 1e9)


def test_counts_are_told_once() -> None:
    mirrors = Mirrors()
    mirrors.came(MIRROR, 10)
    mirrors.came(MIRROR, 5)
    mirrors.failed("other.example", MISSING, 0.0)
    assert mirrors.take_counts() == {MIRROR: [15, 0], "other.example": [0, 1]}
    assert mirrors.take_counts() == {}
