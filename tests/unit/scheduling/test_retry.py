from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert

from image_syncer.config import Settings
from image_syncer.errors import RateLimitedError, SyncError, TransportError, UnavailableError
from image_syncer.scheduling import RetryPolicies, RetryPolicy, Tries, decide_policies

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


def test_no_try_begins_when_the_time_is_spent() -> None:
    policy = RetryPolicy(tries=99, first_pause_s=4, factor=1, budget_s=10)
    assert policy.pause_s(PASSING, 1, 0.5) == 2
    assert policy.pause_s(PASSING, 2, 0.5, spent_s=8) == 2
    assert policy.pause_s(PASSING, 3, 0.5, spent_s=8.1) is None
    assert policy.pause_s(UnavailableError("wait", retry_after_s=9), 1, 0.5, spent_s=0) is None
    assert RetryPolicy(tries=99).pause_s(PASSING, 3, 0.5, spent_s=10**9) is not None


def test_only_the_faults_of_a_policy_are_tried_again() -> None:
    policy = RetryPolicy(faults=("transport",))
    assert policy.pause_s(TransportError("broke"), 1, 0.5) is not None
    assert policy.pause_s(UnavailableError("broke"), 1, 0.5) is None
    assert policy.pause_s(TransportError("broke", retryable=False), 1, 0.5) is None


@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(tries=7, budget_s=9, faults=("transport", "worker"))])
def test_policies_are_told_as_data(policy: RetryPolicy) -> None:
    data = json.loads(json.dumps(RetryPolicies(blob=policy).as_data()))
    assert convert(data, RetryPolicies) == RetryPolicies(blob=policy)


def test_the_policies_follow_from_the_settings() -> None:
    policies = decide_policies(Settings(retries=4, retry_for_s=100, give_up_after_s=50))
    assert {policies.read.tries, policies.write.tries, policies.blob.tries, policies.resume.tries} == {5}
    assert {policies.read.budget_s, policies.write.budget_s, policies.blob.budget_s} == {100}
    assert policies.token.budget_s == 50
    assert policies.token.tries > policies.read.tries
    assert policies.blob.faults is None
    assert policies.resume.first_pause_s < policies.blob.first_pause_s
    assert set(policies.as_data()) == {"read", "write", "token", "blob", "resume"}


def test_without_retries_everything_is_tried_once() -> None:
    policies = decide_policies(Settings(retries=0))
    assert {policies.read.tries, policies.token.tries, policies.blob.tries, policies.resume.tries} == {1}


def test_an_error_tells_the_history_of_its_tries() -> None:
    tries = Tries(began_at=100.0)
    assert (tries.made, tries.spent_s(105.0)) == (0, 0.0)
    tries = tries.plus(SyncError("first"), 101.0, 0.5).plus(SyncError("second"), 102.5, counts=False, pause_s=1.0)
    last = SyncError("third")
    tries = tries.plus(last, 104.0)
    assert (tries.made, tries.spent_s(105.0)) == (2, 4.0)
    written = tries.write_on(last)
    assert written is not last
    assert written.to_data()["history"] == (
        {"at_s": 1.0, "what": "first", "pause_s": 0.5},
        {"at_s": 2.5, "what": "second", "pause_s": 1.0},
        {"at_s": 4.0, "what": "third"},
    )
    assert str(last) == "third"
    assert str(written) == "third (tried 2 times in 4.0 s)"


def test_one_try_is_no_history() -> None:
    error = SyncError("broke")
    assert Tries(0.0).plus(error, 1.0).write_on(error) is error
    assert (error.tries, error.history, error.tried_for_s) == (1, None, None)


def test_the_history_is_bounded() -> None:
    tries = Tries(0.0)
    for number in range(100):
        tries = tries.plus(SyncError(f"{number} " + "x" * 1000), float(number), 0.0)
    assert [entry["what"].split()[0] for entry in tries.history] == ["0", "1", "94", "95", "96", "97", "98", "99"]
    assert max(len(entry["what"]) for entry in tries.history) == 200
    assert tries.made == 100
