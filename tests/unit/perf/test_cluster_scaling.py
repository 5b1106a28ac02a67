"""perf/cluster_scaling.py: what it reckons with, and that it reckons with it."""

from __future__ import annotations

import pytest
from perf.cluster_scaling import BENCH, Assumptions, forecast, main, workload

MIB = 2**20


def test_twice_the_hosts_halve_what_the_link_bounds_and_nothing_passes_what_registries_let_through() -> None:
    work = workload(20, 8 * MIB)
    told = Assumptions(workers_a_host=2, link_bytes_per_s=50e6, registry_bytes_per_s=150e6)
    one, two, eight = (forecast(work, hosts, BENCH, told) for hosts in (1, 2, 8))
    assert one.bytes_moved == two.bytes_moved == eight.bytes_moved == work.bytes_to_move()
    assert one.bottleneck == "link"
    assert two.seconds == pytest.approx(one.seconds / 2, rel=0.15)
    assert eight.bottleneck == "source.example → destination.example"
    assert eight.seconds >= work.bytes_to_move() / 150e6


def test_the_table_says_that_it_is_a_simulation(capsys) -> None:
    assert main(["--images", "10", "--middle", "20KiB"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("10 images, layers of 20.0 KiB in the middle, ")
    assert ". A simulation:\n\n| hosts | workers | time |" in said
    assert said.count("\n| ") == 5
