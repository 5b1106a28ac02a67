"""A worker that dies while its registry is paced: its turns are not missing, and the one in its place takes turns."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, RateLimit
from support.processes import wait_until

if TYPE_CHECKING:
    from process.conftest import Pair


@pytest.mark.extended
def test_the_worker_in_its_place_knows_that_the_registry_is_paced(pair: Pair) -> None:
    pair.add_images(14, layer_bytes=4096)
    limit = RateLimit(burst=5, per_s=20.0)
    pair.destination.behaviour = Behaviour(check_references=False, rate_limits=(limit,))
    with pair.run("--workers", "2") as run:
        before = run.wait_for_workers(2)
        wait_until(lambda: bool(run.events("registry is paced")), "a registry that is paced")
        counters = pair.destination.counters
        wait_until(lambda: counters.values().count("put upload") >= 4, "four uploads")
        os.kill(before[0].pid, signal.SIGKILL)
        run.wait_for_workers(1, but=[worker.pid for worker in before])
        refused = counters.values().refused
        assert run.wait() == 0, run.err
    assert run.report["totals"]["outcomes"]["copied"] == 14
    # A worker that knew nothing would run into the limit with every blob that it holds.
    assert counters.values().refused - refused <= 6
    told = run.report["limits"][pair.destination.address]
    assert told["refused"] == counters.values().refused
    assert [line for line in run.out.splitlines() if line.startswith(f"{pair.destination.address} refused ")]
    assert run.orphans == []
    pair.destination.behaviour = Behaviour()  # its judge asks without turns
    pair.assert_copied()


@pytest.mark.extended
def test_a_worker_in_the_place_of_one_that_waited_for_bytes_gets_its_part(pair: Pair) -> None:
    """Two workers of three are killed while all wait for what may move: nothing waits for them afterwards."""
    pair.add_images(6, layer_bytes=2**20)
    began = time.monotonic()
    with pair.run("--workers", "3", "--rate", "2MB/s", "--small-blobs", "0") as run:
        before = run.wait_for_workers(3)
        pair.wait_for_bytes(2**20)
        for worker in before[:2]:
            os.kill(worker.pid, signal.SIGKILL)
        assert run.wait() == 0, run.err
    assert run.report["totals"]["outcomes"]["copied"] == 6
    assert time.monotonic() - began >= 2.5  # six MiB take three seconds, however often some of them are moved again
    assert run.report["settings"]["rate"] == "2MB/s"
    assert run.orphans == []
    pair.assert_copied()
