"""Runs whose workers are in three processes of Dask: the same bytes, the same limits, and a worker may be lost."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cluster.conftest import WORKERS
from image_syncer.embedded import Behaviour, TokenService, serve_in_thread
from image_syncer.oci import Digest
from process.conftest import MIB, Pair
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.conftest import Dask
    from image_syncer.embedded import Storage

GUARDED = Behaviour(bearer=TokenService())


def content_of(storage: Storage) -> Iterator[tuple[str, str, bytes | None]]:
    """Every tag with its manifest, and every blob that this names, by their bytes."""
    for name in sorted(storage.repositories()):
        for tag in sorted(storage.tags(name)):
            digest = storage.tag(name, tag)
            assert digest is not None
            stored = storage.manifest(name, digest)
            assert stored is not None
            manifest = storage.read_manifest(stored)
            yield name, tag, manifest
            document = json.loads(manifest)
            for blob in (document["config"], *document["layers"]):
                yield name, blob["digest"], storage.read_blob(name, Digest(blob["digest"]))


def test_the_bytes_and_the_token_requests_are_those_of_a_local_run(pair: Pair, dask: Dask, tmp_path: Path) -> None:
    pair.add_images(6, layers=2, layer_bytes=MIB // 8)
    pair.add_images(2, layers=1, layer_bytes=MIB)
    pair.source.behaviour = pair.destination.behaviour = GUARDED
    with serve_in_thread(behaviour=GUARDED) as other:
        local = Pair(pair.source, other, tmp_path / "local", pair.images)
        with local.run("--workers", str(WORKERS)) as run:
            assert run.wait() == 0, run.err
        asked_locally = pair.source.counters.values().count("get token"), other.counters.values().count("get token")
        pair.source.behaviour = replace(GUARDED, bandwidth_bytes_per_s=MIB)
        with pair.run(*dask.words, "--streams", "1", "--small-blobs", "0") as run:
            wait_until(lambda: len(run.events("worker ready")) == WORKERS, "all are there, and blobs are left for them")
            pair.source.behaviour = GUARDED
            assert run.wait() == 0, run.err
        here = list(content_of(other.storage))
    assert len(here) == 8 + 6 * 3 + 2 * 2
    assert all(content for _, _, content in here)
    assert list(content_of(pair.destination.storage)) == here
    asked = pair.source.counters.values().count("get token") - asked_locally[0]
    assert 0 < asked <= asked_locally[0]
    assert 0 < pair.destination.counters.values().count("get token") <= asked_locally[1]
    report = run.report
    assert report["settings"]["workers"] == WORKERS
    assert {transfer["worker"] for transfer in report["transfers"]} == {1, 2, 3}
    assert report["warnings"] == []
    pair.source.behaviour = pair.destination.behaviour = Behaviour()  # its judge has no password
    pair.assert_copied()
    dask.assert_left_alone()


@pytest.mark.extended
def test_a_dask_worker_that_is_killed_is_not_missed(pair: Pair, dask: Dask) -> None:
    pair.add_images(8, layers=2, layer_bytes=MIB // 2)
    pair.slow_down(MIB / 2)
    before = dask.pids()
    with pair.run(*dask.words, "--small-blobs", "0") as run:
        pair.wait_for_bytes(MIB // 4)
        wait_until(lambda: len(run.events("worker ready")) == WORKERS, "all are there")
        used = {event["pid"] for event in run.events("worker ready")}
        assert used <= set(before.values())
        os.kill(victim := min(used), signal.SIGKILL)
        wait_until(lambda: run.events("worker lost"), "the loss is seen")
        pair.speed_up()
        assert run.wait() == 0, run.err
        assert [event["pid"] for event in run.events("worker lost")] == [victim]
    report = run.report
    assert report["totals"]["outcomes"]["copied"] == 8
    (warning,) = report["warnings"]
    assert warning.startswith("Dask worker tls://127.0.0.1:")
    assert warning.endswith(f" (process {victim}) was lost; others took over what it had begun")
    assert warning in run.err
    pair.assert_copied()
    dask.client.wait_for_workers(WORKERS, timeout=60)  # its nanny brings another
    dask.assert_left_alone()


@pytest.mark.slow
def test_the_rate_holds_over_all_of_them(pair: Pair, dask: Dask) -> None:
    pair.add_images(4, layer_bytes=MIB // 2)
    began = time.monotonic()
    with pair.run(*dask.words, "--rate", "2MB/s", "--small-blobs", "0") as run:
        assert run.wait() == 0, run.err
    assert time.monotonic() - began >= 0.8  # two MiB, less what may come at once
    assert run.report["seconds"] >= 0.8
    pair.assert_copied()


@pytest.mark.extended
def test_ctrl_c_ends_it_gently_and_leaves_nothing_behind(pair: Pair, dask: Dask) -> None:
    pair.add_images(2, layer_bytes=1000)
    pair.add_images(4, layer_bytes=8 * MIB)
    pair.slow_down(MIB / 8)
    with pair.run(*dask.words) as run:
        wait_until(lambda: run.events("image"), "one image is there")
        assert dask.engines()
        began = time.monotonic()
        run.signal(signal.SIGINT)
        assert run.wait() == 130, run.err
        assert time.monotonic() - began < 15
    assert run.report["interrupted"] == "SIGINT"
    assert run.report["warnings"] == []
    dask.assert_left_alone()
    pair.speed_up()
    assert pair.assert_consistent() >= 1


@pytest.mark.slow
def test_a_coordinator_that_is_killed_leaves_nothing_behind(pair: Pair, dask: Dask) -> None:
    pair.add_images(4, layer_bytes=8 * MIB)
    pair.slow_down(MIB / 8)
    with pair.run(*dask.words) as run:
        pair.wait_for_bytes(MIB // 4)
        assert dask.engines()
        run.signal(signal.SIGKILL)
        run.wait()
        dask.assert_left_alone()
    assert set(dask.pids().values())


@pytest.mark.slow
def test_a_dask_worker_that_is_stopped_is_found_silent(pair: Pair, dask: Dask) -> None:
    pair.add_images(8, layers=2, layer_bytes=MIB)
    pair.slow_down(MIB)
    with pair.run(*dask.words, "--small-blobs", "0") as run:
        pair.wait_for_bytes(2 * MIB)
        victim = run.events("worker ready")[0]["pid"]
        os.kill(victim, signal.SIGSTOP)
        try:
            wait_until(lambda: run.events("worker lost"), "the silence is noticed", patience_s=60)
            pair.speed_up()
            assert run.wait(120) == 0, run.err
        finally:
            os.kill(victim, signal.SIGCONT)
    assert run.report["totals"]["outcomes"]["copied"] == 8
    pair.assert_copied()
    dask.assert_left_alone()
