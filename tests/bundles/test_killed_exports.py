"""An export whose processes are killed goes on where it was, and makes the bundle that it would have made."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, DemoImage, push_to, serve_in_thread
from image_syncer.layout.bundles import check_bundles
from image_syncer.layout.packing import UNFINISHED
from support.processes import children_of, process_of, wait_until
from support.sync_process import RunFiles, SyncProcess

LAYERS = 8
LAYER_BYTES = 400_000
LAST_BYTES = 3_000_000
WORDS = ["--part-size", "1MiB", "--streams", "2", "--workers", "1", "--retries", "0"]
SLOW_BYTES_PER_S = 600_000.0
"""Of one download: slow enough that a kill comes in its midst."""


def gate_of(run: SyncProcess) -> int:
    """The process that takes the export in."""
    [server] = [
        one.pid for one in children_of(run.pid) if b"serve_bundle" in Path(f"/proc/{one.pid}/cmdline").read_bytes()
    ]
    return server


@pytest.mark.extended
@pytest.mark.parametrize(
    "victim",
    [
        "all",
        pytest.param("coordinator", marks=pytest.mark.slow),
        pytest.param("server", marks=pytest.mark.slow),
    ],
)
def test_a_killed_export_goes_on(tmp_path: Path, victim: str) -> None:
    content = ContentBuilder(seed=11)
    image = content.image([*(content.layer(LAYER_BYTES) for _ in range(LAYERS - 1)), content.layer(LAST_BYTES)])
    bundle = tmp_path / "bundle"
    words = (str(bundle), *WORDS)
    files = RunFiles(tmp_path / "run")
    with serve_in_thread(behaviour=Behaviour(bandwidth_bytes_per_s=SLOW_BYTES_PER_S)) as source:
        push_to(source.storage, "team/app", image, ("v1",))
        files.write(source.address, "registry.example", [DemoImage("team/app", "v1", image)])
        with SyncProcess(files, *words, verb="export") as run:
            wait_until((bundle / "part-0001.tar").exists, "a part that is whole")
            server = process_of(gate_of(run))
            if victim == "server":
                os.kill(server.pid, signal.SIGKILL)
                assert run.wait() == 1, run.err
                assert "Traceback" not in run.err
            else:
                run.signal(signal.SIGKILL, group=victim == "all")
                run.wait()
            wait_until(lambda: not server.is_alive, "the end of the server")
        assert not (bundle / "bundle.json").exists()
        assert (bundle / UNFINISHED).is_dir()
        # A blob that was being packed may begin in it: what lies before that stays.
        first = (bundle / "part-0001.tar").read_bytes()[:LAYER_BYTES]
        source.behaviour = Behaviour()
        before = source.counters.values().count("get blob")
        with SyncProcess(files, *words, verb="export") as run:
            assert run.wait() == 0, run.err
        moved = source.counters.values().count("get blob") - before
        assert moved <= LAYERS - 2  # those of the first part have come, and stay
        assert (bundle / "part-0001.tar").read_bytes().startswith(first)
        assert not (bundle / UNFINISHED).exists()
    record = check_bundles(bundle).record
    assert [each.name for each in record.images] == ["team/app:v1"]
    assert {blob.digest for blob in image.all_blobs()} <= set(record.blobs)
