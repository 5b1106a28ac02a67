"""From measured runs to what a piece of work takes: what was put in comes out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from image_syncer.capacity.fit import USUAL, count_pieces, fit_path, mean_error
from image_syncer.capacity.forecast import WorkImage, Workload
from image_syncer.capacity.measured import MeasuredPath, PathLimits
from image_syncer.oci import Repository
from support.measured_workloads import KIB, MIB, RESOURCES, UNCHANGED, blob, forecast, images, measured


def scaled(path: MeasuredPath, **factors: float) -> MeasuredPath:
    for name, factor in factors.items():
        cost = getattr(path, name)
        path = replace(path, **{name: replace(cost * factor, latency_s=cost.latency_s)})
    return path


TRUE = replace(scaled(USUAL, tag=1.5, image=0.8, small=1.4, stream=1.1, byte=1.25), cores=1.8)
RUNS = (
    measured(TRUE, *images(80, 3, 64 * KIB)),
    measured(TRUE, *images(6, 1, 128 * MIB)),
    measured(TRUE, *[UNCHANGED] * 500),
    measured(TRUE, *images(20, 2, 2 * MIB, repositories=3)),
)


@pytest.fixture(scope="module")
def found() -> MeasuredPath:
    """What is found in the runs: that takes seconds."""
    return fit_path(RUNS, start_s=USUAL.start_s, cpus=2, resources=RESOURCES)


def test_what_was_put_in_comes_out(found: MeasuredPath) -> None:
    for name in ("tag", "small", "byte"):
        for part in ("worker_s", "machine_s"):
            assert getattr(getattr(found, name), part) == pytest.approx(getattr(getattr(TRUE, name), part), rel=0.3)
    assert mean_error(found, RUNS, RESOURCES) < 0.05


def test_what_was_not_measured_is_foreseen(found: MeasuredPath) -> None:
    other = [*images(40, 4, 700 * KIB, name="x", repositories=20), *images(3, 1, 300 * MIB, name="y")]
    expected = measured(TRUE, *other)
    done = forecast(*other, path=found)
    assert done.seconds == pytest.approx(expected.wall_s, rel=0.1)
    assert done.cpu_s == pytest.approx(expected.cost.cpu_s, rel=0.1)


def test_a_path_that_is_slower_than_the_machine_is_found() -> None:
    narrow = replace(USUAL, cores=8.0, limits=PathLimits(path_bytes_per_s=40e6))
    runs = (measured(narrow, *images(6, 1, 64 * MIB)), measured(narrow, *images(40, 2, 4 * MIB)))
    found = fit_path(runs, start_s=USUAL.start_s, cpus=8, resources=RESOURCES)
    assert found.limits.path_bytes_per_s == pytest.approx(40e6, rel=0.1)
    other = images(20, 1, 32 * MIB, name="z")
    again = forecast(*other, path=replace(found, cores=8.0))
    assert again.seconds == pytest.approx(measured(narrow, *other).wall_s, rel=0.1)


def test_registries_that_are_far_away_are_told_by_their_first_answer() -> None:
    far = replace(
        USUAL,
        cores=2.0,
        small=replace(USUAL.small, latency_s=0.3),
        image=replace(USUAL.image, latency_s=0.15),
        tag=replace(USUAL.tag, latency_s=0.15),
    )
    runs = [replace(measured(far, *images(100, 2, 20 * KIB)), first_s=0.301)]
    runs.append(measured(far, *[UNCHANGED] * 500))
    found = fit_path(runs, start_s=USUAL.start_s, cpus=2, resources=RESOURCES)
    assert found.small.latency_s == pytest.approx(0.3, rel=0.2)
    other = images(300, 2, 30 * KIB, name="z")
    again = forecast(*other, path=replace(found, cores=2.0))
    assert again.seconds == pytest.approx(measured(far, *other).wall_s, rel=0.15)


def test_pieces_are_what_a_run_does_of_each_kind() -> None:
    shared, small = blob("shared", 5 * MIB), blob("small", 5 * KIB)
    two = tuple(Repository(f"{name}.example", "a") for name in ("one", "two"))
    work = Workload(
        (
            WorkImage(Repository("s.example", "a"), two, (shared, small), 3, 2),
            WorkImage(Repository("s.example", "b"), (Repository("one.example", "b"),), (shared, small)),
            WorkImage(Repository("s.example", "c"), ()),
        ),
        frozenset({("one.example", small.digest)}),
    )
    byte = 5 * MIB * (1 + USUAL.further_destination) + 5 * KIB
    kinds = {"tag": 1.5 + 1 + 1, "image": 4.5 + 1, "mount": 1 + 2, "small": 1, "stream": 1, "byte": byte, "workers": 1}
    assert count_pieces(work, MIB) == kinds


def test_without_a_run_nothing_is_found() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        fit_path([], start_s=0.1, cpus=2, resources=RESOURCES)


def test_registries_that_take_several_times_as_long_are_found_in_a_few_runs() -> None:
    """On the machine of the run, each small blob takes several times what the usual costs say."""
    slow = replace(
        USUAL,
        cores=2.0,
        image=replace(USUAL.image, machine_s=6 * USUAL.image.machine_s),
        small=replace(USUAL.small, machine_s=6 * USUAL.small.machine_s),
    )
    runs = [measured(slow, *images(count, 4, 20 * KIB)) for count in (1, 20, 200)]
    found = fit_path(runs, start_s=USUAL.start_s, cpus=2, resources=RESOURCES)
    other = images(1200, 4, 20 * KIB, name="z")
    expected = measured(slow, *other)
    done = forecast(*other, path=found)
    assert done.seconds == pytest.approx(expected.wall_s, rel=0.05)
    assert done.bottleneck == "machine"


def test_the_longest_run_says_whether_the_processors_are_the_limit() -> None:
    full = replace(USUAL, cores=2.0, small=replace(USUAL.small, machine_s=6 * USUAL.small.machine_s))
    runs = [measured(full, *images(count, 4, 20 * KIB)) for count in (1, 2, 3, 200)]
    runs.append(replace(measured(full, *[UNCHANGED] * 500), wall_s=60.0))  # far away: it says nothing about bytes
    found = fit_path(runs, start_s=USUAL.start_s, cpus=2, resources=RESOURCES)
    assert found.limits.path_bytes_per_s is None
