"""Workers that are killed while they move blobs: they are replaced, and what they held is moved by others."""

from __future__ import annotations

import os
import signal

from process.conftest import MIB, Pair


def test_a_killed_worker_is_replaced_and_the_destination_is_right(pair: Pair) -> None:
    pair.add_images(6, layer_bytes=2 * MIB)
    pair.slow_down(2 * MIB)
    with pair.run("--workers", "2") as run:
        before = run.wait_for_workers(2)
        pair.wait_for_bytes(3 * MIB)
        os.kill(before[0].pid, signal.SIGKILL)
        assert run.wait() == 0, run.err
        replaced = [event["pid"] for event in run.events("worker ready")]
        lost = run.events("worker lost")
    assert len(replaced) == 3
    assert [(event["pid"], event["why"]) for event in lost] == [(before[0].pid, "was killed (SIGKILL)")]
    assert run.report["totals"]["outcomes"]["copied"] == 6
    pair.assert_copied()
    assert run.orphans == []


def test_workers_may_be_killed_again_and_again(pair: Pair) -> None:
    pair.add_images(6, layer_bytes=2 * MIB)
    pair.slow_down(2 * MIB)
    with pair.run("--workers", "2") as run:
        for round_ in range(1, 3):
            for worker in run.wait_for_workers(2):
                os.kill(worker.pid, signal.SIGKILL)
            pair.wait_for_bytes(pair.source.counters.bytes_out + round_ * MIB)
        assert run.wait() == 0, run.err
        assert len(run.events("worker lost")) == 4
    pair.assert_copied()
    assert run.orphans == []
