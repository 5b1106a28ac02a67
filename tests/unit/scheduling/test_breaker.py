from __future__ import annotations

import itertools

import pytest

from image_syncer.errors import (
    AuthenticationError,
    Origin,
    RateLimitedError,
    RegistryDownError,
    SyncError,
    TransportError,
    UnavailableError,
)
from image_syncer.scheduling import Breakers, BreakerState
from image_syncer.scheduling.breaker import Breaker, BreakerEvent, BreakerFault, fault_of

CLOSED, OPEN, PROBING, GIVEN_UP = BreakerState
REGISTRY = "r.example"
REFUSED = TransportError("refused", phase="connect")
RESET = TransportError("reset", phase="receive")
BROKEN = UnavailableError("broken", status=500)
AWAY = UnavailableError("bad gateway", status=502)


def breakers_of(
    give_up_after_s: float = 100.0, *, reached: bool = True
) -> tuple[Breakers, Breaker, list[BreakerState]]:
    breakers, told = Breakers(give_up_after_s), []
    breakers.listen(lambda breaker: told.append(breaker.state))
    if reached:
        breakers.answered(REGISTRY, 0.0)
    return breakers, breakers.of(REGISTRY), told


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (REFUSED, BreakerFault.UNREACHABLE),
        (TransportError("no such host", phase="resolve"), BreakerFault.UNREACHABLE),
        (TransportError("handshake", phase="tls"), BreakerFault.UNREACHABLE),
        (TransportError("unknown authority", phase="tls", retryable=False), None),
        (RESET, BreakerFault.AWAY),
        (TransportError("too slow", phase="timeout"), BreakerFault.AWAY),
        (TransportError("refused", phase="connect", operation="get token"), None),
        (BROKEN, BreakerFault.AILING),
        (AWAY, BreakerFault.AWAY),
        (UnavailableError("wait", status=503, retry_after_s=5), None),
        (UnavailableError("full", status=500, retryable=False), None),
        (UnavailableError("slow", status=408), None),
        (RateLimitedError("wait", status=429), None),
        (AuthenticationError("no", status=401), None),
        (SyncError("what", retryable=True), None),
    ],
)
def test_what_an_error_says_about_its_registry(error: SyncError, fault: BreakerFault | None) -> None:
    assert fault_of(error) is fault


def test_what_is_not_in_the_table_raises() -> None:
    for state, event in itertools.product(BreakerState, BreakerEvent):
        breaker = Breaker(REGISTRY, 1.0, state)
        try:
            breaker.handle(event)
        except KeyError:
            continue
        assert (state, event) not in {(CLOSED, BreakerEvent.PROBED), (GIVEN_UP, BreakerEvent.PROBED)}
        assert state is not GIVEN_UP or breaker.state is GIVEN_UP


def test_three_refused_connections_in_a_row_open_it_at_once() -> None:
    breakers, breaker, told = breakers_of()
    assert [breakers.failed(REGISTRY, REFUSED, 1.0) for _ in range(3)] == [False, False, True]
    assert (told, breaker.state, breakers.is_held(REGISTRY), breaker.probe_at) == ([OPEN], OPEN, True, 1.0)


def test_an_answer_between_begins_the_count_anew() -> None:
    breakers, breaker, _ = breakers_of()
    for now in range(20):
        breakers.failed(REGISTRY, REFUSED, now)
        breakers.failed(REGISTRY, REFUSED, now)
        breakers.answered(REGISTRY, now)
    assert breaker.state is CLOSED


def test_other_failures_need_a_number_and_a_time() -> None:
    breakers, breaker, _ = breakers_of()
    for _ in range(50):
        breakers.failed(REGISTRY, BROKEN, 10.0)
    assert breaker.state is CLOSED
    breakers.failed(REGISTRY, BROKEN, 13.0)
    assert (breaker.state, breaker.failed_at) == (OPEN, 10.0)


@pytest.mark.parametrize("error", [RateLimitedError("wait", status=429), AuthenticationError("no", status=401)])
def test_refusals_are_answers(error: SyncError) -> None:
    breakers, breaker, _ = breakers_of()
    for now in range(50):
        breakers.failed(REGISTRY, error, now)
    assert breaker.state is CLOSED


def test_an_operation_without_tries_asks_whether_the_registry_is_there() -> None:
    breakers, breaker, _ = breakers_of()
    breakers.failed(REGISTRY, RESET, 5.0)
    assert breakers.exhausted(REGISTRY, RESET, 5.0, 6.0)
    assert breaker.state is OPEN
    breakers.answered(REGISTRY, 6.05)  # to what was asked before
    assert breaker.state is OPEN
    breaker.probed()
    breakers.answered(REGISTRY, 6.1, probe=True)
    assert (breaker.state, breaker.probes) == (CLOSED, 0)
    breakers.answered(REGISTRY, 6.2, probe=True)
    assert breaker.state is CLOSED
    assert not breakers.exhausted(REGISTRY, RESET, 5.0, 7.0)  # it answers: the operation itself is the cause


def test_an_operation_that_the_registry_fails_is_no_outage() -> None:
    breakers, breaker, _ = breakers_of()
    breakers.failed(REGISTRY, BROKEN, 5.0)
    assert not breakers.exhausted(REGISTRY, BROKEN, 5.0, 6.0)
    assert breaker.state is CLOSED


def test_it_is_probed_at_growing_intervals_and_given_up_in_time() -> None:
    breakers, breaker, told = breakers_of(give_up_after_s=100.0)
    for _ in range(3):
        breakers.failed(REGISTRY, REFUSED, 50.0)
    now, at = 50.0, []
    while breaker.state is OPEN:
        now = breaker.probe_at
        at.append(now - 50.0)
        breaker.probed()
        breakers.probe_failed(REGISTRY, REFUSED, now)
    assert at == [0.0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 31.75, 61.75, 91.75, 100.0]
    assert (told, breakers.is_given_up(REGISTRY)) == ([OPEN, GIVEN_UP], True)
    breakers.answered(REGISTRY, now + 1)
    assert breakers.is_given_up(REGISTRY)


def test_a_small_budget_holds_too() -> None:
    breakers, breaker, _ = breakers_of(give_up_after_s=0.1)
    for _ in range(3):
        breakers.failed(REGISTRY, REFUSED, 50.0)
    breaker.probed()
    breakers.probe_failed(REGISTRY, REFUSED, 50.05)
    assert breaker.probe_at == pytest.approx(50.1)
    breaker.probed()
    breakers.probe_failed(REGISTRY, REFUSED, 50.1)
    assert breaker.state is GIVEN_UP


def test_an_answer_to_an_older_request_closes_it() -> None:
    breakers, breaker, told = breakers_of()
    for _ in range(3):
        breakers.failed(REGISTRY, REFUSED, 50.0)
    breakers.answered(REGISTRY, 51.0)
    assert (told, breaker.state, breakers.is_held(REGISTRY)) == ([OPEN, CLOSED], CLOSED, False)


def test_a_registry_that_was_never_reached_is_not_waited_for() -> None:
    breakers, breaker, _ = breakers_of(reached=False)
    assert [breakers.failed(REGISTRY, REFUSED, 1.0) for _ in range(9)] == [False] * 9  # each has its tries
    assert breakers.exhausted(REGISTRY, REFUSED, 1.0, 2.0)
    breaker.probed()
    breakers.probe_failed(REGISTRY, REFUSED, 2.0)
    assert breaker.state is GIVEN_UP
    assert "given up, it never answered: refused" in breaker.down_error().message


def test_there_is_one_reason_for_all() -> None:
    breakers, breaker, _ = breakers_of(give_up_after_s=0.0)
    for _ in range(3):
        breakers.failed(REGISTRY, REFUSED, 1.0)
    breaker.probed()
    breakers.probe_failed(REGISTRY, REFUSED, 1.0)
    late = TransportError("something else", phase="connect", origin=Origin.SOURCE)
    assert breakers.failed(REGISTRY, late, 2.0)
    reason = breakers.reason_of(REGISTRY, late)
    assert isinstance(reason, RegistryDownError)
    assert (reason.message, reason.origin) == (breaker.down_error().message, Origin.SOURCE)
    assert "something else" not in reason.message
    other = AuthenticationError("no", status=401)
    assert breakers.reason_of(REGISTRY, other) is other


def test_without_a_budget_none_ever_opens() -> None:
    breakers = Breakers()
    breakers.answered(REGISTRY, 0.0)
    assert not any(breakers.failed(REGISTRY, REFUSED, now) for now in range(50))
    assert not breakers.exhausted(REGISTRY, REFUSED, 0.0, 50.0)


def test_a_process_of_ours_that_is_gone_is_given_up_at_once() -> None:
    gone = TransportError("nobody listens", phase="gone", retryable=False, hint="It was killed.")
    breakers, breaker, told = breakers_of()
    assert fault_of(gone) is None
    for now in range(20):
        breakers.failed(REGISTRY, REFUSED, float(now))
    breaker.probed()
    breakers.probe_failed(REGISTRY, gone, 21.0)
    assert told[-1] is GIVEN_UP
    error = breaker.down_error()
    assert "it has ended: nobody listens" in error.message
    assert error.hint == "It was killed."
