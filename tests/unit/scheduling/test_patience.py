from __future__ import annotations

from image_syncer.errors import NotAskedError, RateLimitedError, UnavailableError
from image_syncer.scheduling import Patience

HERE, THERE = "registry.example", "other.example"


def test_a_refusal_is_no_try_until_it_has_gone_on_for_too_long() -> None:
    patience = Patience(10.0)
    error = RateLimitedError("wait", operation="get blob")
    assert [patience.is_try(error, HERE, at) for at in (0.0, 9.9, 10.0, 20.0)] == [False, False, True, True]


def test_where_the_operation_is_let_through_it_begins_anew() -> None:
    patience = Patience(10.0)
    error = RateLimitedError("wait", operation="get blob")
    patience.is_try(error, HERE, 0.0)
    patience.went(HERE, "get manifest")
    patience.went(THERE, "get blob")
    assert patience.is_try(error, HERE, 11.0)
    patience.went(HERE, "get blob")
    assert not patience
    assert not patience.is_try(error, HERE, 12.0)
    patience.moved(THERE, HERE)
    assert not patience.is_try(error, HERE, 23.0)


def test_what_was_not_sent_is_no_try_while_waiting_may_help() -> None:
    patience = Patience(10.0)
    assert not patience.is_try(NotAskedError("left alone"), HERE, 100.0)
    patience.waits(HERE, "get blob", 0.0)
    assert patience.is_try(NotAskedError("left alone"), HERE, 100.0)
    assert not patience.is_try(NotAskedError("left alone"), THERE, 100.0)


def test_every_other_failure_is_a_try() -> None:
    assert Patience(10.0).is_try(UnavailableError("busy"), HERE, 0.0)
