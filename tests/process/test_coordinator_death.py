"""A coordinator that is killed: its workers end by themselves, and a rerun finishes what it began."""

from __future__ import annotations

import signal
import time

import pytest

from process.conftest import MIB, Pair
from support.processes import wait_until

END_S = 20.0
"""How soon workers are gone whose coordinator is: at once, which takes its time on a machine that is full."""


def test_workers_end_with_their_coordinator_and_a_rerun_moves_nothing_twice(pair: Pair) -> None:
    pair.add_images(12, layer_bytes=MIB // 2)
    pair.slow_down(MIB)
    blobs = sum(len(image.manifest.all_blobs()) for image in pair.images)
    with pair.run("--workers", "2", "--streams", "2") as run:
        run.wait_for_workers(2)
        wait_until(lambda: pair.puts() >= 4, "some blobs are there")
        run.signal(signal.SIGKILL)
        killed_at = time.monotonic()
        assert run.wait() == -signal.SIGKILL
        wait_until(lambda: not run.orphans, "the workers end", patience_s=END_S - (time.monotonic() - killed_at))
    assert not run.files.report.exists()
    landed = pair.puts()
    assert 4 <= landed < blobs
    assert pair.assert_consistent() < len(pair.images)

    pair.speed_up()
    with pair.run("--workers", "2") as rerun:
        assert rerun.wait() == 0, rerun.err
    pair.assert_copied()
    assert pair.puts() == blobs
    assert rerun.report["totals"]["blobs_moved"] == blobs - landed
    assert rerun.orphans == []


@pytest.mark.extended
def test_workers_end_that_have_only_just_been_started(pair: Pair) -> None:
    pair.add_images(2)
    pair.slow_down(MIB / 4)
    with pair.run("--workers", "4") as run:
        wait_until(lambda: len(run.look()) == 4, "four processes")
        run.signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        # They may still be starting: the interpreter has to get as far as looking at its socket first.
        wait_until(lambda: not run.orphans, "the workers end")
    assert pair.assert_consistent() == 0
