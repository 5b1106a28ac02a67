"""How a run on a cluster would scale with its hosts: `python perf/cluster_scaling.py [--bench FILE]`.

Nobody has measured this: it is the simulation of `capacity/simulation.py`, the real scheduler in virtual time, with the
workers, processors and link of 1, 2, 4 and 8 hosts, and one coordinator. What a piece of work takes comes from a bench
of one host (`image-syncer bench --save FILE`), or else from the figures below, which are of such a bench.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from image_syncer.bench.bench_file import load_bench
from image_syncer.capacity.forecast import Forecast, Host, WorkBlob, WorkImage, Workload
from image_syncer.capacity.measured import Cost, MeasuredPath, PathLimits
from image_syncer.capacity.simulation import simulate
from image_syncer.config import Settings
from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import Machine, decide_resources
from image_syncer.units import format_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HOSTS", "Assumptions", "forecast", "main", "workload"]

MIB, GBIT = 2**20, 125_000_000
HOSTS = (1, 2, 4, 8)
WORKER_MEMORY_BYTES = 96 * MIB
"""As `cluster.run` gives each."""
LATENCY_S = 0.020
BENCH = MeasuredPath(
    cores=2.0,
    start_s=0.63,
    workers_start_s=0.8,
    tag=Cost(234e-6, 0.0, 0.0, LATENCY_S),
    image=Cost(540e-6, 0.0, 0.0, LATENCY_S),
    mount=Cost(60e-6, 150e-6, 0.0, LATENCY_S),
    small=Cost(75e-6, 128e-6, 0.0, LATENCY_S),
    stream=Cost(232e-6, 385e-6, 0.0, LATENCY_S),
    byte=Cost(3.7e-11, 2.7e-9, 0.0),
    limits=PathLimits(stream_bytes_per_s=300e6),
)
"""Of two virtual processors on 2026-11-25, while others worked on that machine; the start of workers is Dask's, and the
latency stands for registries that are elsewhere.
"""


@dataclass(frozen=True)
class Assumptions:
    """What one host is, and what the registries let through to all of them together. Bytes a second."""

    workers_a_host: int = 4
    cores_a_host: float = 4.0
    link_bytes_per_s: float = 10.0 * GBIT
    registry_bytes_per_s: float = 40.0 * GBIT


def workload(images: int, middle_bytes: int, seed: int = 1) -> Workload:
    """So many images of a configuration and six layers: a base that thirty of them share, and five of their own, of
    which most are small and few are large (log-normal, `middle_bytes` in the middle, 2 GiB at most).
    """
    chance = random.Random(seed)  # noqa: S311 - the same images every time

    def layer(name: str) -> WorkBlob:
        size = min(2 * 2**30, max(1000, round(middle_bytes * chance.lognormvariate(0.0, 1.8))))
        return WorkBlob(digest_of(name.encode()), size)

    bases = [layer(f"base {number}") for number in range(max(1, images // 30))]
    made = []
    for number in range(images):
        own = [layer(f"layer {number} {position}") for position in range(5)]
        configuration = WorkBlob(digest_of(f"configuration {number}".encode()), 4000)
        name = f"team/app{number // 10}"
        source, destination = Repository("source.example", name), Repository("destination.example", name)
        made.append(WorkImage(source, (destination,), (configuration, bases[number % len(bases)], *own)))
    return Workload(tuple(made))


def forecast(work: Workload, hosts: int, bench: MeasuredPath, told: Assumptions) -> Forecast:
    """A run of `work` on so many hosts. The registries are on other machines, so what the bench's own took is left out;
    the coordinator has a processor beside theirs.
    """
    workers = hosts * told.workers_a_host
    settings = Settings(workers=workers, memory_bytes=workers * WORKER_MEMORY_BYTES)
    limits = PathLimits(bench.limits.stream_bytes_per_s, told.registry_bytes_per_s)
    path = replace(
        bench, limits=limits, **{name: _own(getattr(bench, name)) for name in ("tag", "image", "mount", "small")}
    )
    path = replace(path, stream=_own(bench.stream), byte=_own(bench.byte))
    host = Host(hosts * told.cores_a_host + 1, hosts * told.link_bytes_per_s)
    resources = decide_resources(settings, Machine(cpus=workers, open_files=2**20))
    return simulate(work, lambda _source, _destination: path, resources, host)


def _own(cost: Cost) -> Cost:
    return replace(cost, machine_s=cost.worker_s + cost.coordinator_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """The table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", help="what image-syncer bench --save wrote, instead of the figures in this file")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--middle", type=parse_size, default=8 * MIB, help="the size of a layer in the middle")
    parser.add_argument("--registry-gbit", type=float, default=40.0, help="what the registries let through to all")
    given = parser.parse_args(arguments)
    bench = load_bench(given.bench).paths[0] if given.bench else BENCH
    told = Assumptions(registry_bytes_per_s=given.registry_gbit * GBIT)
    work = workload(given.images, given.middle)
    told_bytes = format_size(work.bytes_to_move())
    print(f"{given.images} images, layers of {format_size(given.middle)} in the middle, {told_bytes}. A simulation:\n")
    print("| hosts | workers | time | times as fast | GB/s | waits for |\n|---|---|---|---|---|---|")
    alone = 0.0
    for hosts in HOSTS:
        found = forecast(work, hosts, bench, told)
        alone = alone or found.seconds
        print(
            f"| {hosts} | {hosts * told.workers_a_host} | {found.seconds:.0f} s | {alone / found.seconds:.1f} "
            f"| {found.bytes_moved / found.seconds / 1e9:.2f} | {found.bottleneck} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
