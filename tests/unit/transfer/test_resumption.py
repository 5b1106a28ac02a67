from __future__ import annotations

import pytest

from image_syncer.errors import IntegrityError, TransportError
from image_syncer.scheduling import RetryPolicy
from image_syncer.transfer.stream import Resumption

MIB = 2**20
POLICY = RetryPolicy(tries=3, first_pause_s=1.0, factor=2.0, budget_s=60.0)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def resumption(clock: Clock | None = None) -> Resumption:
    return Resumption(POLICY, lambda: 1.0, clock or Clock())


def cut() -> TransportError:
    return TransportError("the connection was cut", phase="receive")


def test_breaks_without_progress_use_up_the_tries() -> None:
    side, last = resumption(), cut()
    assert [side.pause_s(cut()), side.pause_s(cut())] == [1.0, 2.0]
    with pytest.raises(TransportError, match="cut") as given_up:
        side.pause_s(last)
    assert (given_up.value.tries, last.tries) == (3, 1)


def test_progress_gives_all_tries_back() -> None:
    side = resumption()
    for number in range(1, 50):
        assert side.pause_s(cut()) == 1.0
        side.advanced_to(number * MIB, 50 * MIB)


def test_a_trickle_is_no_progress() -> None:
    side = resumption()
    for position in (1000, 2000):
        side.advanced_to(position, 50 * MIB)
        assert side.pause_s(cut()) > 0
    side.advanced_to(3000, 50 * MIB)
    with pytest.raises(TransportError, match="cut"):
        side.pause_s(cut())


def test_of_a_small_blob_a_part_is_progress() -> None:
    side = resumption()
    for number in range(1, 33):
        side.advanced_to(number * 32, 1024)
        assert side.pause_s(cut()) == 1.0


def test_the_same_place_again_is_no_progress() -> None:
    side = resumption()
    for expected in (1.0, 2.0):
        side.advanced_to(MIB, 50 * MIB)
        assert side.pause_s(cut()) == expected
    side.advanced_to(MIB, 50 * MIB)
    with pytest.raises(TransportError, match="cut"):
        side.pause_s(cut())


def test_the_time_without_progress_is_bounded_too() -> None:
    clock = Clock()
    side = resumption(clock)
    assert side.pause_s(cut()) == 1.0
    clock.now += 59.5
    with pytest.raises(TransportError, match="cut"):
        side.pause_s(cut())


def test_what_cannot_pass_is_not_tried_again() -> None:
    error = IntegrityError("wrong bytes")
    with pytest.raises(IntegrityError, match="wrong bytes") as given_up:
        resumption().pause_s(error)
    assert given_up.value.tries == 1
