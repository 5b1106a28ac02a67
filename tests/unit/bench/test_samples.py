"""Samples of a plan: few images, within a budget, to repositories of the bench's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.bench.samples import MOST_IMAGES, Sample, SampleMaker
from image_syncer.reporting.plan_file import load_plan
from support.measured_workloads import MIB, write_plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from image_syncer.reporting.plan_file import PlanFile


def make_plan(folder: Path, sizes: Sequence[int | None]) -> PlanFile:
    """An image for each size, in MiB, of its one layer; None: one that has not changed."""
    path = write_plan(folder / "plan.json", [None if size is None else size * MIB for size in sizes])
    return load_plan(str(path))


def maker(folder: Path, sizes: Sequence[int | None], most_mib: int = 100) -> SampleMaker:
    return SampleMaker(make_plan(folder, sizes), "a.example", folder, "x1", most_mib * MIB)


def sizes_of(sample: Sample | None) -> list[int]:
    assert sample is not None
    return [image.blobs[0].size // MIB for image in sample.workload.images]


def test_each_kind_has_its_images_within_its_part_of_the_budget(tmp_path: Path) -> None:
    made = maker(tmp_path, [1, 2, 3, 12, 20, 30, 45])
    assert sizes_of(made.single()) == [20]
    assert sizes_of(made.large()) == [45, 3]
    assert sizes_of(made.small()) == [1, 2, 3]
    assert 0 < sum(sizes_of(made.mixed())) <= 100 - 20 - 48 - 6


def test_no_image_is_drawn_for_which_the_budget_has_no_room(tmp_path: Path) -> None:
    made = maker(tmp_path, [5000, 6000, 7000])
    assert [made.single(), made.large(), made.small(), made.mixed()] == [None] * 4
    (tmp_path / "other").mkdir()
    made = maker(tmp_path / "other", [30, 5000])
    assert sizes_of(made.single()) == [30]
    assert [made.large(), made.small(), made.mixed()] == [None] * 3  # that one was drawn before


def test_further_images_are_others_where_there_are_others(tmp_path: Path) -> None:
    made = maker(tmp_path, [1] * (2 * MOST_IMAGES), most_mib=2000)
    first, further = made.mixed(), made.further()
    assert first is not None
    assert further is not None
    assert len(further.workload.images) == MOST_IMAGES
    assert not {image.blobs for image in first.workload.images} & {image.blobs for image in further.workload.images}
    (tmp_path / "few").mkdir()
    few = maker(tmp_path / "few", [1, 2])
    assert few.mixed() is not None
    assert few.further() is None


def test_everything_goes_where_only_the_bench_writes(tmp_path: Path) -> None:
    sample = maker(tmp_path, [1, 2]).mixed()
    assert sample is not None
    places = {str(repository) for repository, _ in sample.written}
    assert places == {"b.example/mirror/image-syncer-bench/x1/1/app"}
    assert {image.destination for image in load_plan(str(sample.path)).images} == {
        f"b.example/mirror/image-syncer-bench/x1/1/app:v{number}" for number in range(2)
    }


def test_what_was_drawn_is_not_drawn_again_unless_wanted(tmp_path: Path) -> None:
    made = maker(tmp_path, [10, 10])
    assert sizes_of(made.large()) == [10, 10]
    assert made.mixed() is None
    made.repeat()
    first, second = made.large(), made.large()
    assert first is not None
    assert second is not None
    assert {repository for repository, _ in first.written}.isdisjoint({one for one, _ in second.written})


def test_tags_that_have_not_changed_are_asked_for_where_they_are(tmp_path: Path) -> None:
    made = maker(tmp_path, [None, None, 5])
    sample = made.unchanged()
    assert sample is not None
    assert (len(sample.workload.images), sample.written, sample.workload.bytes_to_move()) == (2, (), 0)
    assert {image.destination.partition(":")[0] for image in load_plan(str(sample.path)).images} == {
        "b.example/mirror/app"
    }
    assert maker(tmp_path, [5]).unchanged() is None


def test_a_sample_is_bounded_in_images_and_is_the_same_each_time(tmp_path: Path) -> None:
    sizes = [0] * (2 * MOST_IMAGES)
    first, second = maker(tmp_path, sizes).mixed(), maker(tmp_path, sizes).mixed()
    assert first is not None
    assert second is not None
    assert len(first.workload.images) == MOST_IMAGES
    assert [image.blobs for image in first.workload.images] == [image.blobs for image in second.workload.images]


@pytest.mark.parametrize("registry", ["b.example", "other.example"])
def test_images_of_other_sources_are_left_out(tmp_path: Path, registry: str) -> None:
    made = SampleMaker(make_plan(tmp_path, [1, 2]), registry, tmp_path, "x1", MIB)
    assert (made.mixed(), made.large(), made.small(), made.single()) == (None, None, None, None)
    assert made.nothing().workload.images == ()
