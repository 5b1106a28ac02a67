from __future__ import annotations

from image_syncer.errors import IntegrityError, TransportError
from image_syncer.planning import RetryPolicy
from image_syncer.transfer import Resumption

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
    assert [side.pause_s(cut()), side.pause_s(cut()), side.pause_s(last)] == [1.0, 2.0, None]
    assert last.tries == 3


def test_progress_gives_all_tries_back() -> None:
    side = resumption()
    for number in range(1, 50):
        assert side.pause_s(cut()) == 1.0
        side.came_to(number * MIB, 50 * MIB)


def test_a_trickle_is_no_progress() -> None:
    side = resumption()
    for position in (1000, 2000):
        side.came_to(position, 50 * MIB)
        assert side.pause_s(cut()) is not None
    side.came_to(3000, 50 * MIB)
    assert side.pause_s(cut()) is None


def test_of_a_small_blob_a_part_is_progress() -> None:
    side = resumption()
    for number in range(1, 33):
        side.came_to(number * 32, 1024)
        assert side.pause_s(cut()) == 1.0


def test_the_same_place_again_is_no_progress() -> None:
    side = resumption()
    for expected in (1.0, 2.0, None):
        side.came_to(MIB, 50 * MIB)
        assert side.pause_s(cut()) == expected


def test_the_time_without_progress_is_bounded_too() -> None:
    clock = Clock()
    side = resumption(clock)
    assert side.pause_s(cut()) == 1.0
    clock.now += 59.5
    assert side.pause_s(cut()) is None


def test_what_cannot_pass_is_not_tried_again() -> None:
    error = IntegrityError("wrong bytes")
    assert resumption().pause_s(error) is None
    assert error.tries == 1
