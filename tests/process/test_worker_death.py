"""Workers that are killed while they move blobs: they are replaced, and what they held is moved by others."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, Fault, serve_in_thread
from process.conftest import MIB, Pair
from support.docker_registry import serve_docker_registry
from support.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_killed_worker_is_replaced_and_the_destination_is_right(pair: Pair) -> None:
    pair.add_images(6, layer_bytes=2 * MIB)
    pair.slow_down(2 * MIB)
    with pair.run("--workers", "2", "--streams", "3") as run:
        before = run.wait_for_workers(2)
        pair.wait_for_bytes(3 * MIB)
        os.kill(before[0].pid, signal.SIGKILL)
        assert run.wait() == 0, run.err
        started = [event["pid"] for event in run.events("worker ready")]
        lost = run.events("worker lost")
    assert len(started) == 3
    assert [(event["pid"], event["why"]) for event in lost] == [(before[0].pid, "was killed (SIGKILL)")]
    assert run.report["totals"]["outcomes"]["copied"] == 6
    failed = [transfer for transfer in run.report["transfers"] if transfer["outcomes"] == ["failed"]]
    assert {transfer["worker"] for transfer in failed} == {event["worker"] for event in lost}
    assert run.orphans == []
    pair.assert_copied()


@pytest.mark.extended
@pytest.mark.real
def test_a_real_registry_is_right_too_after_a_worker_was_killed(tmp_path: Path) -> None:
    with serve_in_thread() as source, serve_docker_registry(tmp_path / "registry") as destination:
        pair = Pair(source, destination, tmp_path)  # type: ignore[arg-type]  # of which only the address is used
        pair.add_images(6, layer_bytes=2 * MIB)
        pair.slow_down(2 * MIB)
        with pair.run("--workers", "2", "--streams", "3") as run:
            workers = run.wait_for_workers(2)
            pair.wait_for_bytes(3 * MIB)
            os.kill(workers[1].pid, signal.SIGKILL)
            assert run.wait() == 0, run.err
        assert [event["pid"] for event in run.events("worker lost")] == [workers[1].pid]
        pair.assert_copied()


@pytest.mark.extended
def test_workers_may_be_killed_again_and_again(pair: Pair) -> None:
    pair.add_images(16)
    pair.slow_down(MIB / 2)
    # One blob in each worker: a kill costs one blob a try, which is then the last in the queue.
    with pair.run("--workers", "2", "--streams", "1", "--small-blobs", "0") as run:
        killed: list[int] = []
        for _ in range(4):
            oldest = run.wait_for_workers(2, but=killed)[0]
            pair.wait_for_bytes(pair.source.counters.bytes_out + MIB // 8)
            os.kill(oldest.pid, signal.SIGKILL)
            killed.append(oldest.pid)
        pair.speed_up()
        assert run.wait() == 0, run.err
        assert [event["pid"] for event in run.events("worker lost")] == killed
    assert run.report["totals"]["outcomes"]["copied"] == 16
    assert run.orphans == []
    pair.assert_copied()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_blob_that_brings_its_workers_down_fails_alone(pair: Pair, workers: int) -> None:
    # The others are under way in the same workers when they die, and are slow enough to be there each time.
    pair.add_images(4)
    pair.slow_down(2 * MIB)
    builder = ContentBuilder(99)
    deadly = builder.layer(3 * MIB)
    guilty = pair.add("team/deadly", "v1", builder.image([deadly]))
    with pair.run("--workers", str(workers), sabotage=_KILL_ON_BLOB.format(digest=deadly.digest)) as run:
        assert run.wait() == 1, run.err
        lost = run.events("worker lost")
    assert len(lost) == 3
    outcomes = {image["destination"].partition("/")[2]: image for image in run.report["images"]}
    failed = outcomes.pop("team/deadly:v1")
    assert failed["outcome"] == "failed"
    assert failed["error"]["kind"] == "worker"
    assert f"worker process {lost[-1]['pid']} was killed (SIGKILL)" in failed["reason"]
    assert "3 workers were lost" in failed["reason"]
    assert {image["outcome"] for image in outcomes.values()} == {"copied"}
    pair.assert_copied([image for image in pair.images if image is not guilty])
    assert pair.assert_consistent() == 4


@pytest.mark.extended
def test_a_blob_that_brings_workers_down_costs_no_more_of_them_for_each_image_that_needs_it(pair: Pair) -> None:
    builder = ContentBuilder(99)
    deadly = builder.layer(3 * MIB)
    # Five further images need it, three of them when it has been found out long since: one slot, the guilty come first.
    for number in range(6):
        pair.add("team/deadly", f"v{number}", builder.image([deadly, builder.layer(1000)]))
    pair.add_images(4)
    words = ("--workers", "1", "--streams", "1")
    with pair.run(*words, sabotage=_KILL_ON_BLOB.format(digest=deadly.digest)) as run:
        assert run.wait() == 1, run.err
        lost = run.events("worker lost")
    assert len(lost) == 3
    failed = [image for image in run.report["images"] if image["outcome"] == "failed"]
    assert len(failed) == 6
    assert {
        image["reason"].partition("3 workers were lost while they held this blob; the last: ")[2] for image in failed
    } == {f"worker process {lost[-1]['pid']} was killed (SIGKILL)"}
    assert {image["error"]["digest"] for image in failed} == {str(deadly.digest)}
    pair.assert_copied(pair.images[6:])
    assert pair.assert_consistent() == 4


@pytest.mark.extended
def test_more_deadly_blobs_than_there_are_restarts_do_not_take_the_run_down(pair: Pair) -> None:
    # A worker may be replaced five times in ten minutes: what brought it down, and is left out, does not count.
    builder = ContentBuilder(98)
    deadly = [builder.layer(MIB + number) for number in range(4)]
    for number, blob in enumerate(deadly):
        pair.add("team/deadly", f"v{number}", builder.image([blob]))
    pair.add_images(4)
    sabotage = _KILL_ON_BLOB.format(digest='" or self._digest in "' + " ".join(str(blob.digest) for blob in deadly))
    with pair.run("--workers", "1", "--streams", "1", "--small-blobs", "0", sabotage=sabotage) as run:
        assert run.wait() == 1, run.err
        assert len(run.events("worker lost")) == 12
    assert run.report["totals"]["outcomes"] == {**run.report["totals"]["outcomes"], "failed": 4, "copied": 4}
    pair.assert_copied(pair.images[4:])


def test_a_run_ends_where_no_worker_can_be_started(pair: Pair) -> None:
    pair.add_images(3)
    with pair.run("--workers", "1", sabotage=_END_AT_ONCE) as run:
        assert run.wait() == 1, run.err
    assert {image["outcome"] for image in run.report["images"]} == {"failed"}
    for image in run.report["images"]:
        assert "every worker process is gone" in image["reason"]
        assert "ended with exit code 3: no room for workers" in image["reason"]


_KILL_ON_BLOB = """
import os, signal, sys
if "image_syncer.worker.process" in " ".join(sys.orig_argv):
    from image_syncer.worker import blob_copy, streamed_copy
    def deadly(kind):
        begin = kind._make_stream
        def die(self, size):
            if self._digest == "{digest}":
                os.kill(os.getpid(), signal.SIGKILL)
            return begin(self, size)
        kind._make_stream = die
    deadly(blob_copy.SmallBlobCopy)
    deadly(streamed_copy.StreamedCopy)
"""

_END_AT_ONCE = """
import os, sys
if "image_syncer.worker.process" in " ".join(sys.orig_argv):
    print("no room for workers", file=sys.stderr, flush=True)
    os._exit(3)
"""


@pytest.mark.extended
def test_another_worker_goes_on_in_the_upload_session_of_one_that_was_killed(pair: Pair) -> None:
    builder = ContentBuilder(96)
    size = 48 * MIB
    pair.add("team/large", "v1", builder.image([builder.layer(size)]))
    pair.destination.behaviour = replace(pair.destination.behaviour, bandwidth_bytes_per_s=24 * MIB)
    with pair.run("--workers", "1") as run:
        [worker] = run.wait_for_workers(1)
        wait_until(lambda: pair.destination.counters.bytes_in >= size // 2, "half of the layer")
        os.kill(worker.pid, signal.SIGKILL)
        assert run.wait() == 0, run.err
    counted = pair.destination.counters.values()
    assert counted.count("get upload") == 1
    assert counted.count("start upload") == 2  # the layer's and the configuration's
    assert counted.bytes_in <= size + MIB
    assert run.orphans == []
    pair.assert_copied()


@pytest.mark.extended
def test_an_upload_that_a_killed_worker_left_open_and_nobody_wants_is_cancelled(pair: Pair) -> None:
    builder = ContentBuilder(95)
    missing = builder.layer(MIB)
    pair.add("team/large", "v1", builder.image([builder.layer(48 * MIB), missing]))
    pair.add("team/other", "v1", builder.image([builder.layer(40 * MIB)]))
    pair.source.behaviour = Behaviour(faults=(Fault("get blob", status=404, times=None, match=missing.digest),))
    pair.destination.behaviour = replace(pair.destination.behaviour, bandwidth_bytes_per_s=16 * MIB)
    with pair.run("--workers", "1", "--small-blobs", "2MiB") as run:
        [worker] = run.wait_for_workers(1)
        wait_until(lambda: pair.destination.counters.bytes_in >= 16 * MIB, "a part of both layers")
        os.kill(worker.pid, signal.SIGKILL)
        assert run.wait() == 1, run.err
    assert len(run.events("worker lost")) == 1
    cancelled = [seen.reference for seen in pair.destination.counters.history("cancel upload") if seen.status == 204]
    assert len(cancelled) == len(set(cancelled)) == 2  # the missing one's, and the one that nobody wants any more
    assert pair.assert_consistent() == 1
