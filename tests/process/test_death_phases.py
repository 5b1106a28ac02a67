"""Processes that are killed or stopped at each step of a blob: every byte arrives, and is counted once."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, Fault, FaultKind
from process.conftest import MIB, Pair
from support.processes import children_of, wait_until

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry

STEPS = {
    "waits for a session": ("start upload", "destination"),
    "waits for the source": ("get blob", "source"),
    "sends": ("put upload", "destination"),
}
WAYS = {"streamed": ("--small-blobs", "0"), "small": ("--small-blobs", "4MiB")}
END_S = 20.0
"""Workers without a coordinator end at once, which takes its time on a machine that is full; else they never would."""
STILL_S = 6.0
SILENCE_S = 4.0
AFTER_THE_ANSWER = """
import os, signal, sys
if "image_syncer.worker.process" in " ".join(sys.orig_argv):
    from image_syncer.worker.upload import Upload
    before = Upload.put
    async def put(self, *args, **more):
        await before(self, *args, **more)
        if str(self._digest) == "{digest}":
            try:
                os.close(os.open("{mark}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
    Upload.put = put
"""
"""The first worker that has moved the blob is killed before it can say so."""


def stall(pair: Pair, step: str) -> tuple[EmbeddedRegistry, str]:
    """The first request of this step never gets an answer."""
    operation, side = STEPS[step]
    registry: EmbeddedRegistry = getattr(pair, side)
    registry.behaviour = Behaviour(faults=(Fault(operation, FaultKind.STALL, times=1),))
    return registry, operation


def assert_counted_once(pair: Pair, report: dict[str, object]) -> None:
    """Of a run between empty registries: each blob has landed once, and its bytes are told once."""
    totals = report["totals"]
    assert isinstance(totals, dict)
    images = [image.manifest for image in pair.images]
    blobs = sum(len(image.all_blobs()) for image in images)
    assert totals["outcomes"]["copied"] == len(images)
    assert totals["blobs_moved"] + totals["blobs_present"] == blobs
    assert totals["bytes_moved"] <= sum(image.size_bytes for image in images)
    assert pair.puts() == blobs
    if not totals["blobs_present"]:
        assert totals["bytes_moved"] == sum(blob.size for image in images for blob in image.all_blobs())
    pair.assert_copied()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_is_killed_at_any_step_costs_nothing_but_time(pair: Pair, step: str, way: str) -> None:
    pair.add_images(4, layer_bytes=MIB)
    registry, operation = stall(pair, step)
    with pair.run("--workers", "1", *WAYS[way]) as run:
        [worker] = run.wait_for_workers(1)
        wait_until(lambda: registry.counters.requests.get(operation, 0) > 0, step)
        # A blob that lands while its worker dies is sent twice, since nothing says that it landed.
        others = sum(len(image.manifest.all_blobs()) for image in pair.images) - 1
        wait_until(lambda: pair.puts() == others, "only the request that gets no answer is under way")
        os.kill(worker.pid, signal.SIGKILL)
        assert run.wait() == 0, run.err
        assert [event["pid"] for event in run.events("worker lost")] == [worker.pid]
    assert_counted_once(pair, run.report)
    assert run.orphans == []


@pytest.mark.extended
@pytest.mark.parametrize("way", WAYS)
def test_a_blob_whose_worker_died_before_it_could_say_so_is_found_and_not_counted_twice(pair: Pair, way: str) -> None:
    builder = ContentBuilder(11)
    blob = builder.layer(2 * MIB)
    pair.add("team/app", "v1", builder.image([blob]))
    mark = pair.directory / "killed"
    sabotage = AFTER_THE_ANSWER.format(digest=blob.digest, mark=mark)
    with pair.run("--workers", "1", *WAYS[way], sabotage=sabotage) as run:
        assert run.wait() == 0, run.err
        assert len(run.events("worker lost")) == 1
    assert mark.exists()
    assert_counted_once(pair, run.report)
    totals = run.report["totals"]
    assert totals["blobs_present"] >= 1
    assert totals["bytes_moved"] < blob.size
    assert pair.source.counters.bytes_out < 2 * blob.size


@pytest.mark.extended
def test_a_worker_that_has_nothing_to_do_may_be_killed(pair: Pair) -> None:
    builder = ContentBuilder(12)
    pair.add("team/app", "v1", builder.image([builder.layer(MIB)]))
    pair.slow_down(MIB / 2)
    with pair.run("--workers", "4", "--small-blobs", "0") as run:
        workers = run.wait_for_workers(4)
        pair.wait_for_bytes(MIB // 8)
        for worker in workers[1:]:  # whoever moves the blob, two at least are idle
            os.kill(worker.pid, signal.SIGKILL)
        assert run.wait() == 0, run.err
        assert {event["pid"] for event in run.events("worker lost")} == {worker.pid for worker in workers[1:]}
    assert_counted_once(pair, run.report)


@pytest.mark.extended
@pytest.mark.parametrize("step", STEPS)
def test_workers_end_at_once_when_their_coordinator_is_killed_at_any_step(pair: Pair, step: str) -> None:
    pair.add_images(4, layer_bytes=MIB)
    registry, operation = stall(pair, step)
    with pair.run("--workers", "2", "--small-blobs", "0") as run:
        run.wait_for_workers(2)
        wait_until(lambda: registry.counters.requests.get(operation, 0) > 0, step)
        run.signal(signal.SIGKILL)
        began = time.monotonic()
        run.wait()
        wait_until(lambda: not run.orphans, "the workers end", patience_s=END_S)
        assert time.monotonic() - began < END_S
    assert children_of(os.getpid()) == [] or run.orphans == []
    with pair.run("--workers", "2", "--small-blobs", "0") as again:
        assert again.wait() == 0, again.err
    pair.assert_copied()


@pytest.mark.extended
def test_a_machine_that_stands_still_loses_nobody(pair: Pair) -> None:
    # All processes of the run at once, for longer than a worker may be silent and than any wait for a byte.
    pair.add_images(4)
    pair.slow_down(MIB)
    settings = {"workers": 2, "streams": 4, "silence_s": SILENCE_S, "watchdog_s": SILENCE_S}
    with pair.run(settings=settings) as run:
        workers = run.wait_for_workers(2)
        pair.wait_for_bytes(MIB // 4)
        run.signal(signal.SIGSTOP, group=True)
        wait_until(lambda: all(one.is_stopped for one in (run.process, *workers)), "they stand still")
        time.sleep(STILL_S)  # the passing of time is what is tested
        run.signal(signal.SIGCONT, group=True)
        assert run.wait() == 0, run.err
        assert run.events("worker lost") == []
        assert run.events("no sign of progress") == []
    assert_counted_once(pair, run.report)


@pytest.mark.extended
def test_a_worker_that_is_stopped_gives_its_blobs_back_and_they_are_counted_once(pair: Pair) -> None:
    pair.add_images(6, layer_bytes=MIB)
    pair.slow_down(MIB)
    with pair.run(settings={"workers": 2, "streams": 3, "silence_s": SILENCE_S, "small_bytes": 0}) as run:
        workers = run.wait_for_workers(2)
        pair.wait_for_bytes(MIB // 2)
        os.kill(workers[0].pid, signal.SIGSTOP)
        assert run.wait() == 0, run.err
        [lost] = run.events("worker lost")
    assert lost["pid"] == workers[0].pid
    assert re.fullmatch(r"was silent for \d+ s and was killed", lost["why"])
    assert_counted_once(pair, run.report)
    assert run.orphans == []
