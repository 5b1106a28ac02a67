"""What a simulation foresaw, corrected by what happens."""

from __future__ import annotations

from itertools import pairwise

import pytest

from image_syncer.config import Settings
from image_syncer.oci import Repository, digest_of
from image_syncer.planning import Machine, decide_resources
from image_syncer.planning.forecast import Host
from image_syncer.planning.foreseen import MOST_POINTS, Curve, Foreseen, ForeseenTimeLeft
from image_syncer.planning.measured import Cost, MeasuredPath
from image_syncer.planning.remaining import TimeLeft
from image_syncer.planning.simulation import simulate
from image_syncer.planning.workload import WorkBlob, WorkImage, Workload

STRAIGHT = Foreseen(100.0, 115.0, 10, 100, 1000, ((0.0, 0.0), (50.0, 0.5), (100.0, 1.0)))
PATH = MeasuredPath(
    cores=2.0,
    start_s=0.1,
    workers_start_s=0.1,
    tag=Cost(100e-6, 0.0, 150e-6, 0.002),
    image=Cost(200e-6, 0.0, 300e-6, 0.004),
    mount=Cost(50e-6, 150e-6, 300e-6, 0.001),
    small=Cost(100e-6, 250e-6, 500e-6, 0.003),
    stream=Cost(100e-6, 400e-6, 700e-6, 0.003),
    byte=Cost(0.0, 30e-9, 30e-9),
)


def curve_of(images: int, blob_bytes: int) -> Foreseen:
    source, target = Repository("source.example", "a"), Repository("destination.example", "a")
    work = [
        WorkImage(source, (target,), tuple(WorkBlob(digest_of(b"%d/%d" % (n, m)), blob_bytes) for m in range(3)))
        for n in range(images)
    ]
    curve = Curve()
    resources = decide_resources(Settings(workers=2), Machine(cpus=2))
    done = simulate(Workload.of(work), lambda _source, _destination: PATH, resources, Host(2.0), curve)
    return curve.foreseen(done.seconds, done.seconds * 1.2)


@pytest.mark.parametrize(("images", "blob_bytes"), [(30, 40_000_000), (3000, 1000)])
def test_a_simulation_leaves_a_curve(images: int, blob_bytes: int) -> None:
    found = curve_of(images, blob_bytes)
    assert (found.images, found.blobs, found.bytes) == (images, 3 * images, 3 * images * blob_bytes)
    assert 3 < len(found.points) <= MOST_POINTS + 2
    assert found.points[-1] == (found.seconds, 1.0)
    for (before_s, before), (after_s, after) in pairwise(found.points):
        assert before_s <= after_s
        assert before <= after
    assert found.at_s(0.5) == pytest.approx(found.seconds / 2, rel=0.3)
    assert Foreseen.from_data(found.as_data()) == found


def test_a_long_simulation_leaves_no_more_points() -> None:
    curve = Curve()
    for step in range(100_000):
        curve(step * 0.5, step, step, step)
    found = curve.foreseen(50_000.0, 60_000.0)
    assert len(found.points) <= MOST_POINTS + 2
    assert found.at_s(0.25) == pytest.approx(12_500, rel=0.01)


def test_of_a_part_it_is_as_many_times_as_much() -> None:
    curve = Curve()
    for step in range(21):
        curve(step * 0.5, step, step * 2, step * 3)
    found = curve.foreseen(100.0, 120.0, times=10.0)
    assert (found.images, found.blobs, found.bytes) == (200, 400, 600)
    assert found.at_s(found.far(100, 200, 300)) == pytest.approx(50.0)


def test_before_anything_has_happened_the_simulation_counts() -> None:
    model = ForeseenTimeLeft(STRAIGHT)
    left = model.note(10.0, 0.0, 0.0, None, held=False)
    assert left is not None
    assert left.seconds == 100
    assert left.least_s < 100 < left.most_s


@pytest.mark.parametrize("slowness", [0.5, 1.0, 2.0])
def test_what_happens_corrects_it(slowness: float) -> None:
    model, whole_s = ForeseenTimeLeft(STRAIGHT), 100 * slowness
    for percent in range(1, 100):
        elapsed_s = whole_s * percent / 100
        left = model.note(elapsed_s, elapsed_s, percent / 100, None, held=False)
        assert left is not None
        if percent >= 60:
            assert left.seconds == pytest.approx(whole_s - elapsed_s, rel=0.2)
        assert left.least_s <= left.seconds <= left.most_s


def test_the_further_it_is_the_more_its_own_pace_counts() -> None:
    own = TimeLeft(10.0, 9.0, 11.0, "images")
    model = ForeseenTimeLeft(STRAIGHT)
    early, late = model.note(10.0, 10.0, 0.1, own, held=False), model.note(90.0, 90.0, 0.9, own, held=False)
    assert early is not None
    assert late is not None
    assert early.seconds == pytest.approx(0.9 * 90 + 0.1 * 10)
    assert late.seconds == pytest.approx(10)
    assert (early.waits_for, late.waits_for) == ("the bench", "images")


def test_what_it_was_held_for_is_no_slowness() -> None:
    model = ForeseenTimeLeft(STRAIGHT)
    model.note(50.0, 50.0, 0.5, None, held=False)
    assert model.note(60.0, 60.0, 0.5, None, held=True) is None
    model.note(90.0, 90.0, 0.5, None, held=True)
    left = model.note(91.0, 91.0, 0.51, None, held=False)
    assert left is not None
    assert left.seconds == pytest.approx(49, rel=0.01)
