"""A giant blob from docker-registry to docker-registry, through processes that stay small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, DemoImage, audit_registry, push_over_http
from support.docker_registry import serve_docker_registry
from support.memory import MemoryWatch, room_for
from support.skopeo import Skopeo
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.extended]

MIB, GIB = 2**20, 2**30
MOST_BYTES = 100 * MIB
"""What no process of a run may exceed, whatever it moves."""
PATIENCE_S = 900


@pytest.mark.parametrize(
    "size_bytes", [GIB // 2, pytest.param(4 * GIB, marks=pytest.mark.slow)], ids=lambda size: f"{size // MIB}MiB"
)
def test_a_giant_blob_passes_through_little_memory(size_bytes: int, tmp_path: Path) -> None:
    content = ContentBuilder(seed=size_bytes)
    image = content.image([content.layer(size_bytes), content.layer(5 * MIB)])
    images = [DemoImage("team/giant", "v1", image)]
    with (
        room_for(2 * size_bytes) as folder,
        serve_docker_registry(folder / "source") as source,
        serve_docker_registry(folder / "destination") as destination,
    ):
        push_over_http(source.url, "team/giant", image, ["v1"])
        files = RunFiles(tmp_path / "run")
        files.write(source.address, destination.address, images)
        with SyncProcess(files, "--workers", "2") as run, MemoryWatch(run) as watch:
            assert run.wait(PATIENCE_S) == 0, run.err
        audit = audit_registry(destination.url, images)
        assert Skopeo().digest(f"{destination.address}/team/giant:v1") == image.digest
    assert audit.mistakes == []
    assert audit.size_bytes == image.size_bytes == run.report["totals"]["bytes_moved"]
    assert len(watch.peaks) == 3  # the coordinator and its workers
    assert max(watch.peaks.values()) < MOST_BYTES
