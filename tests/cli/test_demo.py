"""The demo, its content, and the reader that judges it: with an engine that copies, and with ones that do not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import image_syncer
from cli.test_main import SOURCE_ROOTS
from image_syncer.embedded import (
    MemoryStorage,
    audit_registry,
    build_demo_images,
    push_over_http,
    push_to,
    serve_in_thread,
)
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

SIZE = 64 * 1024
IMAGES = build_demo_images(SIZE)


def manifests() -> list[dict[str, Any]]:
    return [json.loads(item.raw) for image in IMAGES for item in image.manifest.manifests()]


def test_the_content_has_every_shape_that_matters() -> None:
    entries = [entry for manifest in manifests() for entry in manifest.get("manifests", ())]
    about = [entry for entry in entries if "vnd.docker.reference.digest" in entry.get("annotations", {})]
    assert any("platform" not in entry for entry in about), "an attestation without a platform"
    assert any(entry["mediaType"].endswith("index.v1+json") for entry in entries), "an index in an index"
    platforms = {
        (entry["platform"]["os"], entry["platform"]["architecture"]) for entry in entries if "platform" in entry
    }
    assert {("linux", "amd64"), ("linux", "arm64"), ("linux", "arm")} <= platforms
    layers = [layer for manifest in manifests() for layer in manifest.get("layers", ())]
    assert any(layer["size"] == 0 for layer in layers), "an empty layer"
    assert any(b"\n" in image.manifest.raw for image in IMAGES), "a pretty printed index"
    assert max(layer["size"] for layer in layers) == 4 * 2**20
    assert max(blob.size for image in build_demo_images(2**28) for blob in image.manifest.all_blobs()) == 2**28
    homes: dict[str, set[str]] = {}
    for image in IMAGES:
        for blob in image.manifest.all_blobs():
            homes.setdefault(blob.digest, set()).add(image.repository)
    assert any(len(repositories) > 1 for repositories in homes.values()), "layers that repositories share"


def test_the_content_is_the_same_each_time() -> None:
    again = build_demo_images(SIZE)
    assert [image.manifest.digest for image in again] == [image.manifest.digest for image in IMAGES]


def filled() -> MemoryStorage:
    storage = MemoryStorage()
    for image in IMAGES:
        push_to(storage, image.repository, image.manifest, [image.tag])
    return storage


def test_the_reader_finds_nothing_wrong_where_nothing_is() -> None:
    with serve_in_thread(filled()) as registry:
        audit = audit_registry(registry.url, IMAGES)
    assert audit.mistakes == []
    children = {
        (image.repository, item.digest)
        for image in IMAGES
        for item in image.manifest.manifests()
        if item is not image.manifest
    }
    assert audit.manifests == len(IMAGES) + len(children)
    assert audit.blobs == len({(i.repository, b.digest) for i in IMAGES for b in i.manifest.all_blobs()})


def test_the_reader_sees_what_is_missing_and_what_is_wrong() -> None:
    storage = filled()
    web, other = IMAGES[0], IMAGES[1]
    assert web.repository == other.repository
    child = web.manifest.children[0]
    push_to(storage, other.repository, web.manifest, [other.tag])  # a tag that points elsewhere
    storage.delete_manifest(web.repository, child.digest)
    storage.delete_blob("demo/tools", IMAGES[5].manifest.blobs[1].digest)
    with serve_in_thread(storage) as registry:
        mistakes = audit_registry(registry.url, IMAGES).mistakes
    assert f"{other.repository}:{other.tag} is not the manifest that was made for it" in mistakes
    assert f"{web.repository}@{child.digest} is not there (404)" in mistakes
    assert f"demo/tools@{IMAGES[5].manifest.blobs[1].digest} is not there (404)" in mistakes
    assert len(mistakes) == 3


def copying_sync(configuration: Any, settings: Any, **_callbacks: Any) -> Report:
    """An engine that copies, by pushing what the demo is known to hold, and that moves nothing the second time."""
    destination = configuration.rules[0].destinations[0].repository
    totals = Totals()
    for image in IMAGES:
        push_over_http(f"http://{destination.registry}", f"mirror/{image.repository}", image.manifest, [image.tag])
        totals.add(ImageResult("a", "b", Outcome.COPIED))
    return Report({}, totals, "2026-01-01T00:00:00Z", 1.0)


def idle_sync(configuration: Any, settings: Any, **_callbacks: Any) -> Report:
    return Report({}, Totals(), "2026-01-01T00:00:00Z", 1.0)


def failing_sync(configuration: Any, settings: Any, **_callbacks: Any) -> Report:
    result = ImageResult("a:1", "b:1", Outcome.FAILED, reason="it broke")
    totals = Totals()
    totals.add(result)
    return Report({}, totals, "2026-01-01T00:00:00Z", 1.0, failures=(result,))


def test_the_demo_tells_the_whole_story(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(image_syncer.__dict__, "sync", copying_sync)
    ran = command("demo", "--size", "64KiB", "--no-progress")
    assert (ran.code, ran.err) == (0, "")
    for part in ("source", "10 tags in 4 repositories", "First run", "no mistakes", "Second run", "All is well"):
        assert part in ran.out
    [moved] = [line for line in ran.out.splitlines() if line.startswith("  bytes to the destination")]
    assert moved.split()[-2:] == ["0", "B"]
    assert moved.split()[4:6] != ["0", "B"]


@pytest.mark.extended
def test_the_demo_is_not_fooled_by_an_engine_that_does_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(image_syncer.__dict__, "sync", idle_sync)
    ran = command("demo", "--size", "64KiB")
    assert ran.code == 1
    assert "mirror/demo/web:1.0 is not there (404)" in ran.err
    assert "All is well" not in ran.out


@pytest.mark.extended
def test_the_demo_stops_where_an_image_fails(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(image_syncer.__dict__, "sync", failing_sync)
    ran = command("demo", "--size", "64KiB")
    assert (ran.code, ran.err) == (1, "failed: a:1 → b:1\n  it broke\n")


@pytest.mark.extended
def test_the_demo_with_the_real_engine_leaves_nothing_behind(tmp_path: Path) -> None:
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"), "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-m", "image_syncer_cli", "demo", "--size", "1MiB", "--no-progress"],
        env={**os.environ, "PYTHONPATH": SOURCE_ROOTS, "TMPDIR": str(tmp_path), **proxies, "no_proxy": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("All is well: every byte arrived, and the second run moved nothing.\n")
    assert "10 unchanged · 0 B" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.extended
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_registries_that_stay_open_go_when_they_are_told_to(tmp_path: Path, number: int, code: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "image_syncer_cli", "demo", "--size", "1KiB", "--no-progress", "--keep-open"],
        env={**os.environ, "PYTHONPATH": SOURCE_ROOTS, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        lines = iter(child.stdout.readline, "")
        address = next(line for line in lines if "http://" in line).partition("http://")[2].strip()
        assert any("stay open" in line for line in lines)
        child.send_signal(number)
        assert child.wait(timeout=60) == code
    finally:
        child.kill()
        child.communicate()
    assert list(tmp_path.iterdir()) == []
    host, _, port = address.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=60)
