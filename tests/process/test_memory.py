"""Memory: what a run needs does not grow with the size of a blob, and little of it is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import (
    ContentBuilder,
    DemoImage,
    DirectoryStorage,
    RegistryProcess,
    audit_registry,
    push_to,
)
from process.conftest import MIB, Pair
from support.memory import MemoryWatch, room_for
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
MOST_BYTES = 100 * MIB
"""What no process of a run may exceed, whatever it moves."""


@pytest.mark.parametrize(
    "size_bytes", [GIB, pytest.param(4 * GIB, marks=pytest.mark.slow)], ids=lambda size: f"{size // GIB}GiB"
)
def test_a_giant_blob_passes_through_little_memory(size_bytes: int, tmp_path: Path) -> None:
    builder = ContentBuilder(size_bytes)
    images = [DemoImage("team/giant", "v1", builder.image([builder.layer(size_bytes), builder.layer(5 * MIB)]))]
    with room_for(2 * size_bytes) as folder:
        push_to(DirectoryStorage(folder / "source"), "team/giant", images[0].manifest, ["v1"])
        with RegistryProcess(folder / "source") as source, RegistryProcess(folder / "destination") as destination:
            files = RunFiles(tmp_path / "run")
            files.write(source.address, destination.address, images)
            with SyncProcess(files, "--workers", "2") as run, MemoryWatch(run) as watch:
                assert run.wait(patience_s=600) == 0, run.err
            audit = audit_registry(destination.url, images)
    assert audit.mistakes == []
    assert audit.size_bytes > size_bytes
    assert run.report["totals"]["bytes_moved"] == images[0].manifest.size_bytes
    assert len(watch.peaks) == 3
    assert max(watch.peaks.values()) < MOST_BYTES


@pytest.mark.parametrize("limit", ["-v", "-d"], ids=["address space", "data"])
def test_a_small_machine_is_enough(pair: Pair, limit: str) -> None:
    # A process may not ask for more than 256 MiB, and all of them together stay below it, as in a small container.
    most = 256 * MIB
    pair.add_images(30, layers=2, layer_bytes=MIB // 2)
    pair.add_images(2, layer_bytes=24 * MIB)
    launcher = ("sh", "-c", f'ulimit {limit} {most // 1024}; exec "$@"', "sh")
    with pair.run("--workers", "1", "--memory", "16MiB", launcher=launcher) as run, MemoryWatch(run) as watch:
        assert run.wait() == 0, run.err
    assert len(watch.peaks) == 2
    assert watch.most_at_once < most
    settings = run.report["settings"]
    assert settings["window_bytes"] * settings["streams"] * settings["workers"] <= 16 * MIB == settings["memory_bytes"]
    pair.assert_copied()


def test_a_quarter_of_what_a_process_may_have_is_taken_where_nothing_is_said(pair: Pair) -> None:
    pair.add_images(2)
    with pair.run("--workers", "1", launcher=("sh", "-c", 'ulimit -v 524288; exec "$@"', "sh")) as run:
        assert run.wait() == 0, run.err
    assert run.report["settings"]["memory_bytes"] == 128 * MIB
    pair.assert_copied()


@pytest.mark.parametrize("variables", [{"HOME": None}, {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}])
def test_nothing_is_written_that_was_not_asked_for(
    pair: Pair, tmp_path: Path, variables: dict[str, str | None]
) -> None:
    pair.add_images(3)
    bare = tmp_path / "bare"
    bare.mkdir()
    bare.chmod(0o555)
    environment = {**variables, "DOCKER_CONFIG": None, "PYTHONDONTWRITEBYTECODE": "1"}
    with pair.run("--workers", "2", directory=bare, environment=environment) as run:
        assert run.wait() == 0, run.err
    # Root may write anywhere, so what counts is that nobody has.
    assert list(bare.iterdir()) == []
    assert sorted(path.name for path in run.files.directory.iterdir()) == sorted(
        ["auth.json", "images.json", "report.json", "run.log", "stderr", "stdout"]
    )
    pair.assert_copied()
