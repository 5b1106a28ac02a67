"""A run with a journal that is killed, and started again: what it asks for a second time, and what it moves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, Fault, FaultKind
from image_syncer.journal.journal import open_journal
from image_syncer.journal.status import load_status
from image_syncer.oci import Repository, digest_of
from process.conftest import MIB, Pair
from support.processes import wait_until
from support.sync_process import SOURCE_ROOTS

if TYPE_CHECKING:
    from support.sync_process import SyncProcess

SEED = 4


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "run.db")


def kill_coordinator(run: SyncProcess) -> None:
    run.signal(signal.SIGKILL)


def kill_all_at_once(run: SyncProcess) -> None:
    run.signal(signal.SIGKILL, group=True)


def hold_up(pair: Pair, bytes_per_s: float) -> None:
    """The source sends no blob faster than this, and none of the first image to its end: so the run cannot be done."""
    held = pair.images[0].manifest.blobs[1]
    stall = Fault("get blob", FaultKind.STALL, times=None, match=held.digest.hex, after_bytes=held.size // 2)
    pair.source.behaviour = Behaviour(bandwidth_bytes_per_s=bytes_per_s, faults=(stall,))


@pytest.mark.parametrize("kill", [kill_coordinator, kill_all_at_once])
def test_what_the_journal_has_is_not_asked_for_again(pair: Pair, state: str, kill) -> None:
    pair.add_images(24, layer_bytes=MIB // 2)
    hold_up(pair, MIB)
    with pair.run("--state", state, "--workers", "2", "--streams", "2", "--small-blobs", "0") as run:
        wait_until(lambda: load_status_or_none(state) >= 3, "some images are done")
        kill(run)
        assert run.wait() == -signal.SIGKILL
        wait_until(lambda: not run.orphans, "the workers end")
    killed = load_status(state)
    assert killed.state == "killed"
    assert 3 <= killed.images_done < 24
    before = pair.source.counters.values(), pair.destination.counters.values()

    pair.speed_up()
    with pair.run("--state", state, "--workers", "2") as rerun:
        assert rerun.wait() == 0, rerun.err
    source, destination = (
        pair.source.counters.values().minus(before[0]),
        pair.destination.counters.values().minus(before[1]),
    )
    assert source.count("head manifest") == 24
    assert destination.count("head manifest") == 24 - killed.images_done
    # One request for each blob that the journal does not know, and none for the others. An upload that was in flight is
    # asked how far it is, and begun anew only where it is no more. Of an image whose manifest arrived just before the
    # kill nothing is asked but that.
    unknown = 48 - killed.blobs_verified
    arrived = 24 - killed.images_done - destination.count("put manifest")
    assert arrived >= 0
    assert unknown - killed.uploads_in_flight - 2 * arrived <= destination.count("start upload") <= unknown
    assert destination.count("head blob") == 0
    pair.assert_copied()
    assert load_status(state).state == "complete"
    assert load_status(state).images_done == 24


@pytest.mark.extended
def test_workers_that_are_killed_cost_no_more_with_a_journal(pair: Pair, state: str) -> None:
    pair.add_images(12, layer_bytes=MIB // 2)
    pair.slow_down(MIB)
    with pair.run("--state", state, "--workers", "2", "--streams", "2") as run:
        for worker in run.wait_for_workers(2):
            os.kill(worker.pid, signal.SIGKILL)
        pair.speed_up()
        assert run.wait() == 0, run.err
    status = load_status(state)
    assert (status.state, status.images_done, status.blobs_verified) == ("complete", 12, 24)
    pair.assert_copied()


@pytest.mark.extended
def test_the_second_run_on_one_journal_is_refused_and_a_kill_leaves_no_lock(pair: Pair, state: str) -> None:
    pair.add_images(2)
    pair.slow_down(MIB / 8)
    with pair.run("--state", state) as run:
        wait_until(lambda: Path(state).exists() and pair.source.counters.bytes_out > 0, "the run has begun")
        with pair.run("--state", state) as second:
            assert second.wait() == 2
        assert f"the run of process {run.pid} is writing the journal {state}" in second.err
        assert not second.files.report.exists()
        status = load_status(state)
        assert (status.state, status.pid) == ("running", run.pid)
        run.signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        assert load_status(state).state == "killed"  # whether its workers have ended by now, or not
        pair.speed_up()
        with pair.run("--state", state) as third:
            assert third.wait() == 0, third.err
    pair.assert_copied()


@pytest.mark.extended
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_all_that_it_did(pair: Pair, state: str, number: signal.Signals) -> None:
    pair.add_images(24, layer_bytes=MIB // 2)
    hold_up(pair, 2 * MIB)
    with pair.run("--state", state, "--workers", "1", "--streams", "2", "--small-blobs", "0") as run:
        wait_until(lambda: pair.destination.counters.values().count("put manifest") >= 3, "some images are done")
        run.signal(number)
        assert run.wait() == 128 + number
    outcomes = run.report["totals"]["outcomes"]
    status = load_status(state)
    assert status.state == number.name
    assert status.images_done == outcomes["copied"] >= 3
    assert status.images_left == outcomes["not tried"] == 24 - outcomes["copied"]
    assert not Path(f"{state}-wal").exists()


@pytest.mark.extended
def test_an_upload_goes_on_where_a_killed_run_left_it(pair: Pair, state: str) -> None:
    builder = ContentBuilder(1)
    image = pair.add("team/large", "v1", builder.image([builder.layer(8 * MIB)]))
    pair.slow_down(4 * MIB)
    with pair.run("--state", state, "--workers", "1", "--small-blobs", "0") as run:
        wait_until(lambda: load_status_or_none(state, "uploads_in_flight") >= 1, "the session is in the journal")
        pair.wait_for_bytes(4 * MIB)
        run.signal(signal.SIGKILL, group=True)
        assert run.wait() == -signal.SIGKILL
    pair.speed_up()
    with pair.run("--state", state, "--workers", "1", "--small-blobs", "0") as rerun:
        assert rerun.wait() == 0, rerun.err
    pair.assert_copied([image])
    counted = pair.destination.counters.values()
    assert counted.bytes_in <= image.manifest.size_bytes + MIB // 2
    assert load_status(state).uploads_in_flight == 0


def load_status_or_none(state: str, field: str = "images_done") -> int:
    """A field of the status; 0 while there is no journal."""
    return int(getattr(load_status(state), field)) if Path(state).exists() else 0


@pytest.mark.extended
def test_a_journal_whose_writer_is_killed_has_all_that_was_flushed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    state, home = str(tmp_path / "run.db"), Repository("target.example", "team/app")
    flushed = 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS)}
    for _ in range(8):
        command = [sys.executable, "-c", _WRITER, state, str(flushed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 25)):
                flushed = int(writer.stdout.readline())
            writer.kill()
            # What it said before it died counts, too.
            for line in writer.stdout:
                flushed = int(line) if line.endswith("\n") else flushed
        with closing(open_journal(state, {})) as journal:
            missing = [n for n in range(flushed) if not journal.has_blob(home, digest_of(n.to_bytes(8, "big")))]
            assert missing == []
        assert journal.warnings == []
    assert flushed > 0


_WRITER = """
import asyncio, sys
from image_syncer.journal.journal import open_journal
from image_syncer.oci import Repository, digest_of

async def write(path, number):
    journal, home = open_journal(path, {}), Repository("target.example", "team/app")
    while True:
        for _ in range(50):
            journal.note_blob(home, digest_of(number.to_bytes(8, "big")))
            number += 1
        await journal.flush()
        print(number, flush=True)

asyncio.run(write(sys.argv[1], int(sys.argv[2])))
"""
