"""What a simulation foresaw, corrected by what happens."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from image_syncer.capacity.forecast import MOST_POINTS, Foreseen, PredictedCurve
from image_syncer.capacity.measured import Cost
from image_syncer.capacity.time_left import PredictedTimeLeft, TimeLeft
from support.measured_workloads import PATH, forecast, images

STRAIGHT = Foreseen(100.0, 115.0, 10, 100, 1000, ((0.0, 0.0), (50.0, 0.5), (100.0, 1.0)))
SLOW = replace(PATH, byte=Cost(0.0, 30e-9, 30e-9))


def curve_of(count: int, blob_bytes: int) -> Foreseen:
    curve = PredictedCurve()
    done = forecast(*images(count, 3, blob_bytes), path=SLOW, track=curve)
    return curve.prediction(done.seconds, done.seconds * 1.2)


@pytest.mark.parametrize(("count", "blob_bytes"), [(30, 40_000_000), (3000, 1000)])
def test_a_simulation_leaves_a_curve(count: int, blob_bytes: int) -> None:
    found = curve_of(count, blob_bytes)
    assert (found.images, found.blobs, found.bytes) == (count, 3 * count, 3 * count * blob_bytes)
    assert 3 < len(found.points) <= MOST_POINTS + 2
    assert found.points[-1] == (found.seconds, 1.0)
    for (before_s, before), (after_s, after) in pairwise(found.points):
        assert before_s <= after_s
        assert before <= after
    assert found.at_s(0.5) == pytest.approx(found.seconds / 2, rel=0.3)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Foreseen) == found


def test_a_long_simulation_leaves_no_more_points() -> None:
    curve = PredictedCurve()
    for step in range(100_000):
        curve(step * 0.5, step, step, step)
    found = curve.prediction(50_000.0, 60_000.0)
    assert len(found.points) <= MOST_POINTS + 2
    assert found.at_s(0.25) == pytest.approx(12_500, rel=0.01)


def test_of_a_part_it_is_as_many_times_as_much() -> None:
    curve = PredictedCurve()
    for step in range(21):
        curve(step * 0.5, step, step * 2, step * 3)
    found = curve.prediction(100.0, 120.0, times=10.0)
    assert (found.images, found.blobs, found.bytes) == (200, 400, 600)
    assert found.at_s(found.progress(100, 200, 300)) == pytest.approx(50.0)


def test_before_anything_has_happened_the_simulation_counts() -> None:
    model = PredictedTimeLeft(STRAIGHT)
    left = model.note(10.0, 0.0, 0.0, None, held=False)
    assert left is not None
    assert left.seconds == 100
    assert left.least_s < 100 < left.most_s


@pytest.mark.parametrize("slowness", [0.5, 1.0, 2.0])
def test_what_happens_corrects_it(slowness: float) -> None:
    model, whole_s = PredictedTimeLeft(STRAIGHT), 100 * slowness
    for percent in range(1, 100):
        elapsed_s = whole_s * percent / 100
        left = model.note(elapsed_s, elapsed_s, percent / 100, None, held=False)
        assert left is not None
        if percent >= 60:
            assert left.seconds == pytest.approx(whole_s - elapsed_s, rel=0.2)
        assert left.least_s <= left.seconds <= left.most_s


def test_the_further_it_is_the_more_its_own_pace_counts() -> None:
    own = TimeLeft(10.0, 9.0, 11.0, "images")
    model = PredictedTimeLeft(STRAIGHT)
    early, late = model.note(10.0, 10.0, 0.1, own, held=False), model.note(90.0, 90.0, 0.9, own, held=False)
    assert early is not None
    assert late is not None
    assert early.seconds == pytest.approx(0.9 * 90 + 0.1 * 10)
    assert late.seconds == pytest.approx(10)
    assert (early.waits_for, late.waits_for) == ("the bench", "images")


def test_what_it_was_held_for_is_no_slowness() -> None:
    model = PredictedTimeLeft(STRAIGHT)
    model.note(50.0, 50.0, 0.5, None, held=False)
    assert model.note(60.0, 60.0, 0.5, None, held=True) is None
    model.note(90.0, 90.0, 0.5, None, held=True)
    left = model.note(91.0, 91.0, 0.51, None, held=False)
    assert left is not None
    assert left.seconds == pytest.approx(49, rel=0.01)
