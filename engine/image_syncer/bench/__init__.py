"""Bench: what this host and a path between registries can do, measured by runs of the engine itself."""

from __future__ import annotations

from image_syncer.bench.bench_file import BenchFile, load_bench, save_bench
from image_syncer.bench.cleanup import delete_written
from image_syncer.bench.foresight import Foresight
from image_syncer.bench.host_limits import HostLimits, HostRate
from image_syncer.bench.loopback import bench_host, loopback
from image_syncer.bench.path import bench_plan
from image_syncer.bench.sides import PathSide
from image_syncer.bench.sweep import Setting, sweep

__all__ = [
    "BenchFile",
    "Foresight",
    "HostLimits",
    "HostRate",
    "PathSide",
    "Setting",
    "bench_host",
    "bench_plan",
    "delete_written",
    "load_bench",
    "loopback",
    "save_bench",
    "sweep",
]
