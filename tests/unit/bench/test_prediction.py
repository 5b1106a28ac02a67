"""Foresight: a process of its own, which is never waited for."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.bench.bench_file import BenchFile, save_bench
from image_syncer.bench.prediction import Foresight, predict
from image_syncer.capacity.fit import USUAL
from image_syncer.config import Settings
from support.measured_workloads import MIB, write_plan

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, images: int, size: int) -> tuple[str, str]:
    """A plan of so many images with a layer each, and a bench."""
    plan, bench = write_plan(folder / "plan.json", [size] * images), folder / "bench.json"
    save_bench(BenchFile((replace(USUAL, cores=2.0, source="a.example"),)), str(bench))
    return str(plan), str(bench)


def test_it_is_there_after_a_while_and_told_once(tmp_path: Path) -> None:
    plan, bench = written(tmp_path, 40, 64 * MIB)
    settings = Settings(workers=2)
    with Foresight(plan, bench, settings) as foresight:
        began = time.monotonic()
        assert foresight.take() is None
        assert time.monotonic() - began < 1  # it was not waited for
        while (found := foresight.take()) is None:
            assert time.monotonic() - began < 60
            time.sleep(0.05)
        assert foresight.take() is None
    assert found == predict(plan, bench, settings)
    assert (found.images, found.blobs, found.bytes) == (40, 40, 40 * 64 * MIB)
    assert 1 < found.seconds < found.p90_s < 60


def test_of_a_large_plan_a_part_is_enough(tmp_path: Path) -> None:
    plan, bench = written(tmp_path, 16_000, 1000)
    found = predict(plan, bench, Settings(workers=2))
    assert found.images == pytest.approx(16_000, rel=0.01)
    assert found.blobs == pytest.approx(16_000, rel=0.01)
    assert len(found.points) < 500


def test_a_run_that_ends_before_leaves_nothing_behind(tmp_path: Path) -> None:
    plan, bench = written(tmp_path, 40, 64 * MIB)
    foresight = Foresight(plan, bench, Settings())
    process = foresight._process
    foresight.close()
    assert process is not None
    assert process.returncode is not None
    assert foresight.take() is None


def test_what_cannot_be_reckoned_is_not_foreseen(tmp_path: Path) -> None:
    with Foresight(str(tmp_path / "missing.json"), str(tmp_path / "missing too.json"), Settings()) as foresight:
        process = foresight._process
        assert process is not None
        process.wait(60)
        assert foresight.take() is None
        assert foresight.take() is None
