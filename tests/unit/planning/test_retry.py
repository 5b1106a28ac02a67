from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.errors import RateLimitedError, SyncError, TransportError, UnavailableError
from image_syncer.planning import RetryPolicy

PASSING = SyncError("broke", retryable=True)


def test_pauses_grow_up_to_the_longest() -> None:
    policy = RetryPolicy(tries=9, first_pause_s=1, factor=3, longest_pause_s=20)
    assert [policy.pause_s(PASSING, made, 0.5) for made in range(1, 6)] == [0.5, 1.5, 4.5, 10, 10]


def test_any_pause_up_to_the_full_one_is_as_likely() -> None:
    policy = RetryPolicy(first_pause_s=8)
    assert [policy.pause_s(PASSING, 1, chance) for chance in (0.0, 0.25, 0.75)] == [0.0, 2.0, 6.0]


def test_the_first_try_counts() -> None:
    policy = RetryPolicy(tries=2)
    assert policy.pause_s(PASSING, 1, 0.5) is not None
    assert policy.pause_s(PASSING, 2, 0.5) is None
    assert RetryPolicy(tries=1).pause_s(PASSING, 1, 0.5) is None


def test_what_does_not_pass_is_not_tried_again() -> None:
    assert RetryPolicy().pause_s(SyncError("broke"), 1, 0.5) is None
    assert RetryPolicy().pause_s(TransportError("broke", retryable=False), 1, 0.5) is None


@pytest.mark.parametrize("kind", [RateLimitedError, UnavailableError])
def test_what_a_registry_asks_for_is_the_least(kind: type[RateLimitedError | UnavailableError]) -> None:
    policy = RetryPolicy(first_pause_s=4, longest_wait_s=60)
    assert policy.pause_s(kind("wait", retry_after_s=10), 1, 0.5) == 12
    assert policy.pause_s(kind("wait", retry_after_s=0), 1, 0.5) == 2
    assert policy.pause_s(kind("wait", retry_after_s=60), 1, 0.5) == 62
    assert policy.pause_s(kind("wait", retry_after_s=60.1), 1, 0.5) is None
    assert policy.pause_s(kind("wait"), 1, 0.5) == 2
    assert policy.pause_s(kind("wait", retry_after_s=10, retryable=False), 1, 0.5) is None


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True), st.floats(1, 100))
def test_no_number_of_tries_is_too_large(made: int, chance: float, factor: float) -> None:
    policy = RetryPolicy(tries=made + 1, factor=factor)
    pause = policy.pause_s(PASSING, made, chance)
    assert pause is not None
    assert 0 <= pause < policy.longest_pause_s
