"""The watchdog with time as an argument: who is quiet for too long, who is excused, and who is told again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Settings
from image_syncer.dispatch.watchdog import GRACE_S, LOOK_S, RUN_FACTOR, Stuck, Watchdog, longest_quiet_s
from image_syncer.scheduling import decide_policies

if TYPE_CHECKING:
    from image_syncer.dispatch.watchdog import Watched

BOUND_S = 100.0


class Dog:
    """A watchdog that is asked every second, and what it said: (when, what, strikes)."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits = False
        self.held_back: set[str] = set()
        self.watchdog = Watchdog(
            BOUND_S,
            on_hopeless=lambda _stuck: True,
            excuse=lambda _now: self.waits,
            holds_back=lambda registry, _now: registry in self.held_back,
        )
        self.said: list[tuple[float, str, int]] = []

    def watch(self, what: str) -> Watched:
        return self.watchdog.watch(what, "begins", lambda _stuck: True)

    def pass_time(self, seconds: float, *, busy: Watched | None = None) -> list[Stuck]:
        """Look every second; `busy` makes progress all the time."""
        found = []
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            if busy is not None:
                busy.sign()
            found += self.watchdog.look(self.now)
        return found


@pytest.fixture
def watchdog() -> Dog:
    return Dog()


def names(found: list[Stuck]) -> list[tuple[str, int]]:
    return [(stuck.watched.what, stuck.strikes) for stuck in found]


def test_what_gives_no_sign_is_told_when_its_time_is_over_and_again_after_the_grace(watchdog: Dog) -> None:
    busy, quiet = watchdog.watch("busy"), watchdog.watch("quiet")
    quiet.enter("asks the source")
    assert watchdog.pass_time(BOUND_S, busy=busy) == []
    [stuck] = watchdog.pass_time(1, busy=busy)
    assert (stuck.watched, stuck.watched.stage, stuck.quiet_s, stuck.strikes) == (quiet, "asks the source", BOUND_S, 1)
    assert watchdog.pass_time(GRACE_S - 1, busy=busy) == []
    assert names(watchdog.pass_time(1, busy=busy)) == [("quiet", 2)]
    quiet.leave()
    assert watchdog.pass_time(3 * BOUND_S, busy=busy) == []


def test_a_sign_begins_its_time_anew(watchdog: Dog) -> None:
    busy, other = watchdog.watch("busy"), watchdog.watch("other")
    watchdog.pass_time(BOUND_S, busy=busy)
    other.sign()
    assert watchdog.pass_time(BOUND_S, busy=busy) == []
    other.enter("something else")
    assert watchdog.pass_time(BOUND_S, busy=busy) == []
    assert names(watchdog.pass_time(1, busy=busy)) == [("other", 1)]
    other.sign()  # it was only slow
    watchdog.pass_time(BOUND_S, busy=busy)
    assert names(watchdog.pass_time(1, busy=busy)) == [("other", 1)]


def test_who_has_to_wait_for_a_registry_is_excused_and_has_the_whole_time_afterwards(watchdog: Dog) -> None:
    busy, waiting = watchdog.watch("busy"), watchdog.watch("waiting")
    waiting.enter("asks", watchdog.watchdog.turn("src.example", "dst.example"))
    watchdog.pass_time(BOUND_S - 10, busy=busy)
    watchdog.held_back.add("dst.example")
    assert watchdog.pass_time(10 * BOUND_S, busy=busy) == []
    watchdog.held_back.clear()
    assert watchdog.pass_time(BOUND_S - 1, busy=busy) == []
    assert names(watchdog.pass_time(1, busy=busy)) == [("waiting", 1)]


def test_time_in_which_we_stood_still_is_nobodys(watchdog: Dog) -> None:
    quiet, busy = watchdog.watch("quiet"), watchdog.watch("busy")
    watchdog.pass_time(60, busy=busy)
    watchdog.now += 3600  # SIGSTOP, or the lid was closed
    assert watchdog.pass_time(40, busy=busy) == []
    assert names(watchdog.pass_time(2, busy=busy)) == [("quiet", 1)]
    assert quiet.strikes == 1


def test_where_nothing_moves_the_run_is_told_after_its_parts(watchdog: Dog) -> None:
    waiting = watchdog.watch("image")
    waiting.enter("waits for 3 blobs", lambda _now: True)
    assert watchdog.pass_time(RUN_FACTOR * BOUND_S) == []
    assert names(watchdog.pass_time(1)) == [("the run", 1)]


def test_a_run_that_waits_for_a_known_time_is_excused(watchdog: Dog) -> None:
    watchdog.watch("image").enter("waits for 3 blobs", lambda _now: True)
    watchdog.waits = True
    assert watchdog.pass_time(10 * BOUND_S) == []
    watchdog.waits = False
    assert names(watchdog.pass_time(RUN_FACTOR * BOUND_S + 1)) == [("the run", 1)]


def test_what_begins_and_ends_is_progress_of_the_run(watchdog: Dog) -> None:
    for _ in range(20):
        one = watchdog.watch("image")
        assert watchdog.pass_time(BOUND_S / 2) == []
        one.leave()
    one.leave()
    assert len(watchdog.watchdog) == 0


def test_nobody_is_watched_for_less_than_time_outs_and_tries_may_take() -> None:
    settings = Settings(connect_timeout_s=5.0, stall_timeout_s=20.0, answer_timeout_s=400.0, retry_for_s=100.0)
    bound_s = longest_quiet_s(settings, decide_policies(settings), request_s=300.0)
    assert bound_s > 5.0 + 400.0 + 100.0 + 300.0
    patient = Settings(retry_for_s=4000.0)
    assert longest_quiet_s(patient, decide_policies(patient), request_s=300.0) > 4000.0
    told = Settings(watchdog_s=7.0)
    assert longest_quiet_s(told, decide_policies(told), request_s=300.0) == 7.0
