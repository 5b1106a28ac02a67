"""Runs in virtual time: the scheduler's own decisions, and times that follow from what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from image_syncer.capacity.forecast import Host, Phase, WorkImage, Workload, summarize_phases
from image_syncer.capacity.measured import MeasuredPath, PathLimits
from image_syncer.oci import Repository
from support.measured_workloads import DESTINATION, MIB, PATH, SOURCE, UNCHANGED, blob, forecast

MANY_CORES = Host(64.0)


def large(number: int, size: int = 256 * MIB) -> WorkImage:
    return WorkImage(SOURCE, (DESTINATION,), (blob(f"large {number}", size), blob(f"configuration {number}", 500)))


def test_nothing_to_do_takes_the_start_and_the_requests() -> None:
    done = forecast(*[UNCHANGED] * 1000)
    assert (done.bytes_moved, done.blobs_moved) == (0, 0)
    assert done.seconds == pytest.approx(0.1 + 1000 * 100e-6, rel=0.1)
    assert done.memory_bytes == 60 * MIB  # no worker was started
    assert done.cpu_s == pytest.approx(0.1)


def test_an_empty_workload_is_no_run_at_all() -> None:
    assert forecast().seconds == 0.0


def test_large_blobs_take_what_their_bytes_take_of_the_machine() -> None:
    done = forecast(*(large(number) for number in range(8)))
    total = 8 * 256 * MIB
    assert done.bytes_moved == total + 8 * 500
    assert done.seconds == pytest.approx(0.2 + total * 2e-9 / 2, rel=0.05)
    assert done.bottleneck == "machine"
    assert done.memory_bytes == 160 * MIB


def test_a_worker_has_one_processor_however_many_the_machine_has() -> None:
    done = forecast(large(1), host=MANY_CORES)
    assert done.seconds == pytest.approx(0.2 + 256 * MIB * 1.5e-9, rel=0.05)
    assert done.bottleneck == "worker"


def test_a_path_bounds_all_of_its_streams_and_a_stream_itself() -> None:
    narrow = replace(PATH, limits=PathLimits(path_bytes_per_s=50e6))
    assert forecast(*map(large, range(4)), path=narrow).seconds == pytest.approx(4 * 256 * MIB / 50e6, rel=0.05)
    slow = replace(PATH, limits=PathLimits(stream_bytes_per_s=50e6))
    assert forecast(*map(large, range(4)), path=slow).seconds == pytest.approx(256 * MIB / 50e6, rel=0.1)


def test_shared_blobs_move_once_for_a_registry_and_are_mounted_elsewhere() -> None:
    shared = blob("shared", 64 * MIB)
    images = [WorkImage(SOURCE, (Repository("destination.example", name),), (shared,)) for name in "abcd"]
    done = forecast(*images)
    assert (done.bytes_moved, done.blobs_moved, done.blobs_mounted) == (64 * MIB, 1, 3)


def test_what_is_there_already_costs_a_question() -> None:
    there = blob("there", 64 * MIB)
    image = WorkImage(SOURCE, (DESTINATION,), (there,))
    done = forecast(image, present=[("destination.example", there)])
    assert (done.bytes_moved, done.blobs_moved) == (0, 0)
    assert Workload((image,), frozenset({("destination.example", there.digest)})).bytes_to_move() == 0
    assert done.seconds < 0.3


def test_one_download_serves_several_destinations() -> None:
    three = tuple(Repository(f"{name}.example", "a") for name in ("one", "two", "three"))
    image = WorkImage(SOURCE, three, (blob("large", 256 * MIB),), destinations_asked=3)
    done = forecast(image, host=MANY_CORES)
    assert done.blobs_moved == 3
    assert done.seconds == pytest.approx(0.2 + 256 * MIB * 1.5e-9 * 2, rel=0.05)  # 1 + 2 × one half


def test_where_registries_are_far_away_it_is_the_round_trips() -> None:
    far = replace(PATH, small=replace(PATH.small, latency_s=0.5), image=replace(PATH.image, latency_s=0.2))
    images = [WorkImage(SOURCE, (DESTINATION,), (blob(f"small {number}", 1000),)) for number in range(256)]
    done = forecast(*images, path=far)
    assert done.bottleneck == "latency"
    assert done.seconds == pytest.approx(0.1 + 0.2 + 0.2 + 2 * 0.5, rel=0.25)  # 2 × 64 small ones at a time


def test_the_link_bounds_both_directions() -> None:
    done = forecast(*map(large, range(4)), host=Host(64.0, link_bytes_per_s=100e6))
    assert done.seconds == pytest.approx(4 * 256 * MIB / 100e6, rel=0.05)
    assert done.bottleneck == "link"


def test_phases_are_few_and_without_gaps() -> None:
    many = [Phase(number / 10, (number + 1) / 10, "machine" if number % 10 else "latency") for number in range(1000)]
    found = summarize_phases(many, most=8)
    assert found == [Phase(0.0, 100.0, "machine")]
    parts = summarize_phases([Phase(0.0, 1.0, "latency"), Phase(1.0, 4.0, "machine")], most=8)
    assert [phase.bottleneck for phase in parts] == ["latency", "machine"]
    assert (parts[0].ended_s, parts[1].began_s, parts[-1].ended_s) == (1.0, 1.0, 4.0)
    assert summarize_phases([]) == []


def test_a_file_of_measurements_comes_back_as_it_was() -> None:
    assert MeasuredPath.from_data(PATH.as_data()) == PATH
    with pytest.raises(ValueError, match="no file of image-syncer bench"):
        MeasuredPath.from_data({"kind": "sync"})
    with pytest.raises(ValueError, match="format is 99"):
        MeasuredPath.from_data({**PATH.as_data(), "format": 99})
    data = PATH.as_data()
    del data["tag"]
    with pytest.raises(ValueError, match="tag: it is missing"):
        MeasuredPath.from_data(data)
