"""Memory: what a run needs does not grow with the size of a blob, and little of it is enough."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest

from image_syncer import Outcome, Settings, load_configuration, sync
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
from support.own_process import in_own_process
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer import Snapshot

GIB = 2**30
MOST_BYTES = 100 * MIB
"""What no process of a run may exceed, whatever it moves."""


@pytest.mark.extended
@pytest.mark.parametrize(
    "size_bytes", [GIB // 2, pytest.param(4 * GIB, marks=pytest.mark.slow)], ids=lambda size: f"{size // MIB}MiB"
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


@pytest.mark.extended
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


@pytest.mark.extended
@in_own_process
def test_nothing_is_left_of_an_image_that_is_done(tmp_path: Path) -> None:
    # All share one layer, and each has a layer and a config of its own: their two digests may stay, and of the image
    # nothing. Counted are the objects of Python, which no machine counts differently; the first run warms up.
    counts = [50, 400, 1200]
    builder = ContentBuilder(17)
    base, storage = builder.layer(100), DirectoryStorage(tmp_path / "source")
    for count in counts:
        for number in range(count):
            push_to(storage, f"team/app{count}", builder.image([base, builder.layer(100)]), [f"v{number}"])
    with RegistryProcess(tmp_path / "source") as source, RegistryProcess() as destination:
        places = source.address, destination.address
        _, (few_tracked, few), (many_tracked, many) = [objects_after(count, *places, tmp_path) for count in counts]
    images = counts[-1] - counts[-2]
    # The rest is what differs from run to run, such as how many requests were under way at most.
    assert many_tracked - few_tracked < images // 2, f"{many_tracked - few_tracked} objects more for {images} images"
    assert many - few < images * 2 + images * 2, f"{many - few} blocks more for {images} images"


def objects_after(images: int, source: str, destination: str, directory: Path) -> tuple[int, int]:
    """The objects that the garbage collector follows, and all of Python's, when everything in a run has ended."""
    rules = directory / f"{images}.yaml"
    rules.write_text(f"{source}/team/app{images}: {destination}/team/app{images}\n")
    auth = directory / "auth.yaml"
    auth.write_text(f"{{'{source}': {{insecure: true}}, '{destination}': {{insecure: true}}}}\n")
    found = 0, 0

    def on_progress(snapshot: Snapshot) -> None:
        nonlocal found
        if snapshot.images_done == images:  # for the last time when the workers have ended
            gc.collect()
            found = len(gc.get_objects()), sys.getallocatedblocks()

    configuration = load_configuration(auth=str(auth), images=str(rules), environ={})
    report = sync(configuration, Settings(workers=1), on_progress=on_progress)
    assert report.totals.outcomes[Outcome.COPIED] == images
    return found


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
