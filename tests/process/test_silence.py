"""Processes that stand still: a worker that does is replaced, a coordinator that did judges nobody."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

from process.conftest import MIB, Pair
from support.processes import wait_until

SILENCE_S = 4.0
"""What a worker is allowed in these tests: eight times the pause between two signs of life."""


def test_a_worker_that_is_stopped_is_found_silent_killed_and_replaced(pair: Pair) -> None:
    pair.add_images(12, layer_bytes=MIB // 2)
    pair.slow_down(MIB / 2)
    with pair.run(settings={"workers": 2, "streams": 2, "silence_s": SILENCE_S}) as run:
        workers = run.wait_for_workers(2)
        pair.wait_for_bytes(MIB // 2)
        os.kill(workers[0].pid, signal.SIGSTOP)
        run.wait_for_workers(1, but=[worker.pid for worker in workers])
        pair.speed_up()
        assert run.wait() == 0, run.err
        lost = run.events("worker lost")
    assert [event["pid"] for event in lost] == [workers[0].pid]
    assert re.fullmatch(r"was silent for \d+ s and was killed", lost[0]["why"])
    assert run.report["totals"]["outcomes"]["copied"] == 12
    assert run.orphans == []
    pair.assert_copied()


@pytest.mark.extended
def test_a_coordinator_that_stood_still_does_not_judge_its_workers(pair: Pair) -> None:
    pair.add_images(4)
    pair.slow_down(MIB / 2)
    with pair.run(settings={"workers": 2, "streams": 4, "silence_s": SILENCE_S}) as run:
        workers = run.wait_for_workers(2)
        pair.wait_for_bytes(MIB // 2)
        run.signal(signal.SIGSTOP)
        wait_until(lambda: run.process.is_stopped, "the coordinator stands still")
        time.sleep(1.5 * SILENCE_S)  # the passing of time is what is tested
        assert [worker for worker in workers if not worker.is_alive] == []
        run.signal(signal.SIGCONT)
        assert run.wait() == 0, run.err
        assert len(run.events("this process stood still")) == 1
        assert run.events("worker lost") == []
        assert len(run.events("worker ready")) == 2
    assert run.report["totals"]["outcomes"]["copied"] == 4
    # Each blob has moved once: nothing was leased again.
    assert pair.destination.counters.bytes_in == sum(image.manifest.size_bytes for image in pair.images)
    pair.assert_copied()
