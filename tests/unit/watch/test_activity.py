"""Quiet repositories are looked at less often, within a bound, and busy ones in every round."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from image_syncer.watch.watcher import QUIET_ROUNDS, Activity


def looked_at(activity: Activity, name: str, rounds: int, changed_in: frozenset[int] = frozenset()) -> list[int]:
    """In which of so many rounds `name` is looked at."""
    found = []
    for number in range(1, rounds + 1):
        if name not in activity.begin_round():
            found.append(number)
            activity.note(name, changed=number in changed_in)
    return found


def gaps(rounds: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(rounds)]


def test_a_quiet_repository_is_looked_at_less_and_less_often_within_the_bound() -> None:
    found = gaps(looked_at(Activity(8), "r.example/app", 200))
    assert found[: QUIET_ROUNDS - 1] == [1] * (QUIET_ROUNDS - 1)
    assert max(found) <= 8
    assert len(found) < 60
    assert min(found[6:]) >= 4


def test_a_change_brings_it_back_to_every_round() -> None:
    before = looked_at(Activity(8), "r.example/app", 40)
    change = next(number for number in before if number > 20)
    found = looked_at(Activity(8), "r.example/app", 40, frozenset({change}))
    after = [number for number in found if number >= change]
    assert after[: QUIET_ROUNDS + 1] == list(range(change, change + QUIET_ROUNDS + 1))


def test_one_as_the_bound_switches_it_off() -> None:
    activity = Activity(1)
    assert looked_at(activity, "r.example/app", 20) == list(range(1, 21))
    assert len(activity) == 0


def test_a_notification_wakes_what_rests() -> None:
    activity = Activity(6)
    looked_at(activity, "r.example/app", 20)
    activity.wake(["r.example/app"])
    assert "r.example/app" not in activity.begin_round()


def test_those_that_became_quiet_together_do_not_come_back_together() -> None:
    activity = Activity(6)
    names = [f"r.example/app{number}" for number in range(600)]
    shares = []
    for _ in range(40):
        resting = activity.begin_round()
        awake = [name for name in names if name not in resting]
        shares.append(len(awake))
        for name in awake:
            activity.note(name, changed=False)
    assert max(shares[20:]) < 300
    assert min(shares[20:]) > 50


def test_what_is_gone_is_forgotten() -> None:
    activity = Activity(4)
    looked_at(activity, "r.example/app", 3)
    assert len(activity) == 1
    for _ in range(12):
        activity.begin_round()
    assert len(activity) == 0


@given(rest=st.integers(1, 50), changes=st.frozensets(st.integers(1, 300)), name=st.text(max_size=20))
def test_nobody_waits_longer_than_the_bound(rest, changes, name) -> None:
    found = looked_at(Activity(rest), name, 300, changes)
    assert found[0] == 1
    assert max(gaps(found)) <= rest
