"""A worker that dies while its registry is paced: its turns are not missing, and the one in its place takes turns."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from image_syncer.embedded import Behaviour, RateLimit
from support.processes import wait_until

if TYPE_CHECKING:
    from process.conftest import Pair


def test_the_worker_in_its_place_knows_that_the_registry_is_paced(pair: Pair) -> None:
    pair.add_images(24, layer_bytes=4096)
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
    assert run.report["totals"]["outcomes"]["copied"] == 24
    # A worker that knew nothing would run into the limit with every blob that it holds.
    assert counters.values().refused - refused <= 6
    told = run.report["limits"][pair.destination.address]
    assert told["refused"] == counters.values().refused
    assert [line for line in run.out.splitlines() if line.startswith(f"{pair.destination.address} refused ")]
    assert run.orphans == []
    pair.destination.behaviour = Behaviour()  # its judge asks without turns
    pair.assert_copied()
