"""Buckets of bytes in a time of their own: who asks, asks again as soon as something came."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from math import inf

import pytest

from image_syncer.config import RateSchedule
from image_syncer.scheduling import EVERYWHERE, Bandwidth, metered, streams_for
from image_syncer.scheduling.bandwidth import ENOUGH_STREAMS, LEAST_STREAM_BYTES_PER_S, ByteBucket

HERE, THERE = "here.example", "there.example"
MB = 10**6
MORNING, NOON = datetime(2026, 11, 25, 7, 59), datetime(2026, 11, 25, 12)  # noqa: DTZ001 - local times


def bandwidth(run: str | None = None, **registries: str) -> Bandwidth:
    rates = {f"{name}.example": RateSchedule.parse(text) for name, text in registries.items()}
    return Bandwidth(
        RateSchedule.parse(run) if run else None,
        {name: rate for name, rate in rates.items() if rate is not None},
        NOON,
        0.0,
    )


def spend(
    of: Bandwidth, askers: list[tuple[int, str, bool]], seconds: float, *, begin: float = 0.0, step_s: float = 0.003
) -> Counter[tuple[int, str, bool]]:
    """What each gets in so many seconds, who asks again as soon as something came."""
    got: Counter[tuple[int, str, bool]] = Counter()
    for asker, registry, sending in askers:
        of.want(asker, registry, sending=sending)
    for step in range(1, round(seconds / step_s) + 1):
        for grant in of.grants(begin + step * step_s):
            got[grant.asker, grant.registry, grant.sending] += grant.size
            of.want(grant.asker, grant.registry, sending=grant.sending)
    return got


@pytest.mark.parametrize("rate", [0.01, 1, 20, 200, 2000])
@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_granted_is_the_rate_and_all_get_the_same(rate: float, workers: int) -> None:
    of = bandwidth(f"{rate}MB/s")
    got = spend(of, [(worker, HERE, False) for worker in range(workers)], 10.0)
    assert sum(got.values()) == pytest.approx(rate * MB * 10, rel=0.05)
    assert max(got.values()) - min(got.values()) <= max(4096, rate * MB * 0.01)


def test_little_is_left_to_move_when_a_limit_begins() -> None:
    """What workers have been granted before is theirs: it must not be seconds' worth of the limit."""
    rate = RateSchedule.parse("08:00-18:00=1MB/s")
    assert rate is not None
    of = Bandwidth(rate, {}, MORNING, 0.0)
    of.want(1, HERE, sending=False)
    [grant] = of.grants(0.0)
    assert grant.size <= MB


def test_both_directions_have_the_rate_each() -> None:
    got = spend(bandwidth("10MB/s"), [(1, HERE, False), (1, THERE, True)], 5.0)
    assert got[1, HERE, False] == pytest.approx(50 * MB, rel=0.01)
    assert got[1, THERE, True] == pytest.approx(50 * MB, rel=0.01)


def test_a_registry_with_a_limit_of_its_own_keeps_it_and_keeps_nobody_waiting() -> None:
    of = bandwidth("10MB/s", here="1MB/s")
    got = spend(of, [(1, HERE, False), (1, THERE, False), (2, HERE, False)], 10.0)
    assert got[1, HERE, False] + got[2, HERE, False] == pytest.approx(10 * MB, rel=0.02)
    assert got[1, THERE, False] == pytest.approx(90 * MB, rel=0.02)


def test_small_grants_of_a_slow_registry_do_not_starve_a_large_one() -> None:
    of = bandwidth("1MB/s", here="500KB/s", there="500KB/s")
    got = spend(of, [(1, HERE, False), (1, THERE, False), (1, "other.example", False)], 10.0)
    assert got[1, "other.example", False] >= 2 * MB


def test_a_registry_alone_is_limited_and_the_others_are_not() -> None:
    of = bandwidth(here="1MB/s")
    got = spend(of, [(1, HERE, True), (1, THERE, True)], 5.0)
    assert got[1, HERE, True] == pytest.approx(5 * MB, rel=0.02)
    assert got[1, THERE, True] >= 1000 * MB


def test_an_idle_time_is_not_made_up_for() -> None:
    of = bandwidth("10MB/s")
    assert of.wait_s(100.0) == inf
    got = spend(of, [(1, HERE, False)], 1.0, begin=100.0)
    assert sum(got.values()) <= 10 * MB * 1.25


def test_what_is_given_back_is_granted_again() -> None:
    of = bandwidth("1MB/s")
    of.want(1, HERE, sending=False)
    [grant] = of.grants(0.05)
    before = of._buckets[None, False].wait_s(60_000, 0.05)
    of.give_back(HERE, sending=False, size=grant.size)
    assert of._buckets[None, False].wait_s(60_000, 0.05) < before


def test_who_is_gone_gets_nothing() -> None:
    of = bandwidth("1MB/s")
    of.want(1, HERE, sending=False)
    of.want(2, HERE, sending=False)
    of.forget(1)
    assert [grant.asker for grant in of.grants(1.0)] == [2]
    assert not of.is_waited_for


def test_the_rate_changes_with_the_time_of_day_in_the_middle_of_a_run() -> None:
    of = Bandwidth(RateSchedule.parse("08:00-18:00=2MB/s,10MB/s"), {}, MORNING, 0.0)
    assert not of.retime(MORNING, 1.0)
    assert sum(spend(of, [(1, HERE, False)], 5.0).values()) == pytest.approx(50 * MB, rel=0.02)
    assert of.retime(NOON, 5.0)
    assert of.rate(None) == 2 * MB
    assert sum(spend(of, [(1, HERE, False)], 10.0, begin=5.0).values()) == pytest.approx(20 * MB, rel=0.05)


def test_a_limit_that_begins_later_holds_from_then_on() -> None:
    of = Bandwidth(RateSchedule.parse("08:00-18:00=2MB/s"), {}, MORNING, 0.0)
    assert of.is_limited
    assert of.rate(None) is None
    assert sum(spend(of, [(1, HERE, False)], 1.0).values()) > 100 * MB
    assert of.retime(NOON, 1.0)
    assert sum(spend(of, [(1, HERE, False)], 10.0, begin=1.0).values()) == pytest.approx(20 * MB, rel=0.05)


def test_a_timer_that_comes_late_loses_nothing() -> None:
    of = bandwidth("20MB/s")
    of.want(1, HERE, sending=False)
    total, now = 0, 0.0
    while now < 10.0:
        now += 0.15  # as on a machine that is busy
        for _ in range(1000):
            grants = of.grants(now)
            if not grants:
                break
            total += sum(grant.size for grant in grants)
            of.want(1, HERE, sending=False)
    assert total == pytest.approx(20 * MB * now, rel=0.02)


def test_a_bucket_without_a_rate_always_has_enough() -> None:
    bucket = ByteBucket(None, 0.0)
    bucket.take(10**12)
    assert bucket.wait_s(10**12, 0.0) == 0.0


def test_a_low_rate_is_good_for_few_blobs_at_a_time() -> None:
    assert streams_for(None) is None
    assert streams_for(10_000) == 2
    assert streams_for(10 * LEAST_STREAM_BYTES_PER_S) == 10
    assert streams_for(ENOUGH_STREAMS * LEAST_STREAM_BYTES_PER_S) is None


def test_bytes_are_counted_where_there_is_a_limit_at_some_time() -> None:
    rate = RateSchedule.parse("08:00-18:00=1MB/s")
    assert rate is not None
    assert metered(None, {}) == ()
    assert metered(None, {HERE: rate}) == (HERE,)
    assert metered(rate, {HERE: rate}) == (EVERYWHERE,)


def test_the_rate_of_all_together_can_be_changed_and_taken_away() -> None:
    of = bandwidth("1MB/s", here="500KB/s")
    of.change(RateSchedule.parse("3MB/s"))
    assert of.rate(None) == 1 * MB  # until the next look at the time
    assert of.retime(NOON, 0.0)
    assert (of.rate(None), of.rate(HERE)) == (3 * MB, MB / 2)
    of.change(None)
    assert of.retime(NOON, 1.0)
    assert (of.rate(None), of.is_limited) == (None, True)
