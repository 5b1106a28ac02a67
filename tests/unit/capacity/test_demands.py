"""What work asks of processors and paths."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from image_syncer.capacity.forecast import COORDINATOR, MACHINE, Host
from image_syncer.capacity.measured import Cost, MeasuredPath, PathLimits
from image_syncer.capacity.simulation import Demand, capacities_of, coordinator_demand, job_demand
from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import Arrival, Job
from image_syncer.values import as_dict

MIB = 2**20
PATH = MeasuredPath(
    cores=2.0,
    start_s=0.1,
    workers_start_s=0.1,
    tag=Cost(),
    image=Cost(),
    mount=Cost(1e-3, 2e-3, 4e-3),
    small=Cost(1e-3, 2e-3, 5e-3),
    stream=Cost(1e-3, 2e-3, 5e-3),
    byte=Cost(1e-9, 2e-9, 4e-9),
    limits=PathLimits(stream_bytes_per_s=5e7, path_bytes_per_s=1e8),
)
FAST = MeasuredPath(**{**as_dict(PATH), "limits": PathLimits()})


def demand(size: int, *registries: str, arrival: Arrival = Arrival.MOVED, small: bool = False) -> Demand:
    targets: Any = [
        SimpleNamespace(repository=Repository(name, "app"), losses=0, mounts=False) for name in registries or ("d",)
    ]
    job = Job(1, digest_of(b"blob"), size, Repository("s", "app"), targets, small=small)
    cost = PATH.small if small else PATH.stream
    paths = {"d": PATH}
    return job_demand(3, job, arrival, PATH, cost, lambda _source, destination: paths.get(destination, FAST))


def test_there_is_a_core_for_each_process_and_what_was_measured_of_paths() -> None:
    paths = {("s", "d"): PATH, ("s", "e"): FAST}
    assert capacities_of(Host(4.0), 2, paths) == {
        MACHINE: 4.0,
        COORDINATOR: 1.0,
        "worker 0": 1.0,
        "worker 1": 1.0,
        "s → d": 1e8,
    }
    linked = capacities_of(Host(4.0, link_bytes_per_s=1e9), 0, {})
    assert linked == {MACHINE: 4.0, COORDINATOR: 1.0, "link in": 1e9, "link out": 1e9}


def test_a_stream_is_told_in_bytes_and_bounded_by_what_one_got_alone() -> None:
    one = demand(100 * MIB)
    assert one.kind is not None
    assert one.kind.name[0] == "stream"
    # Beside its bytes it takes 2 ms of its worker, which are worth a million of them.
    assert one.work == pytest.approx(100 * MIB + 1e6)
    assert one.kind.demands == {
        "worker 3": 2e-9,
        COORDINATOR: 1e-9,
        MACHINE: 4e-9,
        "link in": 1.0,
        "link out": 1.0,
        "s → d": 1.0,
    }
    assert (one.kind.most, demand(MIB, "fast").kind.most) == (5e7, math.inf)  # type: ignore[union-attr]
    assert one.cpu_s == pytest.approx(3e-3 + 100 * MIB * 3e-9)


def test_another_destination_costs_a_part_and_takes_its_own_path() -> None:
    two = demand(100 * MIB, "fast", "d")
    assert two.kind is not None
    assert two.kind.name == ("stream", "3", "s", "d", "fast")
    assert two.kind.demands["worker 3"] == pytest.approx(3e-9)
    assert (two.kind.demands["link in"], two.kind.demands["link out"]) == (1.0, 2.0)
    assert two.kind.most == 5e7


def test_a_small_blob_is_told_in_seconds_of_its_worker() -> None:
    small = demand(10**6, small=True)
    assert small.kind is not None
    assert small.kind.name[0] == "moved"
    assert small.work == pytest.approx(4e-3)
    assert small.kind.demands == pytest.approx({"worker 3": 1.0, COORDINATOR: 0.5, MACHINE: 2.25})


def test_what_is_mounted_has_no_bytes() -> None:
    mounted = demand(100 * MIB, arrival=Arrival.MOUNTED)
    assert mounted.kind is not None
    assert mounted.kind.name[0] == "mounted"
    assert mounted.work == pytest.approx(2e-3)


def test_the_coordinator_works_by_itself() -> None:
    half = coordinator_demand(Cost(2e-3, 0.0, 3e-3), 0.5)
    assert half.kind is not None
    assert (half.cpu_s, half.work, half.kind.demands) == (1e-3, 1e-3, {COORDINATOR: 1.0, MACHINE: 1.5})
    assert coordinator_demand(Cost(), 1.0) == Demand(0.0)
