"""The time left of real runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.bench.bench_file import BenchFile, save_bench
from image_syncer.bench.prediction import Foresight
from image_syncer.capacity.fit import USUAL
from image_syncer.embedded import ContentBuilder, push_to, serve_in_thread

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20


@pytest.mark.extended
def test_a_run_is_foreseen_and_says_how_long_it_takes(tmp_path: Path) -> None:
    """A plan, a bench, and a run that knows its time before it knows its pace."""
    content = ContentBuilder(seed=5)
    plan_path, bench_path, rules = tmp_path / "plan.json", tmp_path / "bench.json", tmp_path / "own.yaml"
    with serve_in_thread() as source, serve_in_thread() as destination:
        for number in range(12):
            push_to(source.storage, f"team/app{number}", content.image(1, layer_bytes=MIB), ["v1"])
        rules.write_text(
            f"version: 2\nregistries:\n  '{source.address}': {{insecure: true}}\n"
            f"  '{destination.address}': {{insecure: true}}\nrules:\n"
            f"- {{source: '{source.address}/team/**', destination: '{destination.address}/team/**'}}\n"
        )
        configuration = image_syncer.load_configuration(config=str(rules), environ={})
        image_syncer.plan(configuration, image_syncer.Settings(plan_path=str(plan_path)))
        save_bench(BenchFile((USUAL,)), str(bench_path))
        settings = image_syncer.Settings(workers=1, progress_interval_s=0.05)
        control, seen = image_syncer.RunControl(), []
        with Foresight(str(plan_path), str(bench_path), settings) as foresight:
            until = time.monotonic() + 60
            while control.foreseen is None:
                assert time.monotonic() < until
                control.foreseen = foresight.take()
                time.sleep(0.05)
        report = image_syncer.sync(configuration, settings, on_progress=seen.append, control=control)
    assert report.totals.images == 12
    assert control.foreseen.images == 12
    assert control.foreseen.bytes == report.totals.bytes_moved
    early = [one for one in seen if one.eta_waits_for == "the bench"]
    assert early
    for one in seen:
        if one.eta_s is not None:
            assert one.eta_least_s is not None
            assert one.eta_most_s is not None
            assert 0 <= one.eta_least_s <= one.eta_s <= one.eta_most_s
