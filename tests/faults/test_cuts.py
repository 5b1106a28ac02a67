"""A large blob over a way that cuts each connection after a twentieth of it: what has been moved is not moved again."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    DemoImage,
    DirectoryStorage,
    audit_registry,
    push_over_http,
    push_to,
    serve_in_thread,
)
from support.docker_registry import serve_docker_registry
from support.fault_plan import Action, Moment, ProxyFault
from support.fault_proxy import FaultProxy, run_fault_proxy
from support.memory import room_for
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry, MadeManifest
    from support.docker_registry import DockerRegistry

MIB, GIB = 2**20, 2**30
PARTS = 20
MOST_EXCESS = 0.05
"""Of the blob's size: what may be moved twice in all."""
PATIENCE_S = 900
REPOSITORY, TAG = "team/giant", "v1"

sizes = pytest.mark.parametrize(
    "size", [256 * MIB, pytest.param(2 * GIB, marks=pytest.mark.slow)], ids=lambda size: f"{size // MIB}MiB"
)


class Place:
    """Room on a disk, a proxy, and registries on demand."""

    def __init__(self, stack: ExitStack, size: int, run: Path) -> None:
        self._stack = stack
        self._room = stack.enter_context(room_for(3 * size))
        self._run = run
        self.proxy: FaultProxy = stack.enter_context(run_fault_proxy())
        content = ContentBuilder(seed=size)
        self.image: MadeManifest = content.image([content.layer(size), content.layer(MIB)])

    def docker_registry(self, name: str) -> DockerRegistry:
        return self._stack.enter_context(serve_docker_registry(self._room / name))

    def embedded(self, name: str, behaviour: Behaviour) -> EmbeddedRegistry:
        storage = DirectoryStorage(self._room / name)
        return self._stack.enter_context(serve_in_thread(storage, behaviour))

    def sync(self, source: str, destination: str, at: str) -> SyncProcess:
        """Copy the image, and read everything at the destination, whose own URL is `at`."""
        images = [DemoImage(REPOSITORY, TAG, self.image)]
        files = RunFiles(self._run / "run")
        files.write(source, destination, images)
        with SyncProcess(files, "--workers", "1") as run:
            assert run.wait(PATIENCE_S) == 0, run.out + run.err
        audit = audit_registry(at, images)
        assert audit.mistakes == []
        assert audit.size_bytes == self.image.size_bytes
        return run


@pytest.fixture
def place(size: int, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack, size, tmp_path)


@pytest.mark.extended
@pytest.mark.real
@sizes
def test_a_source_that_is_cut_is_read_on_where_it_was(place: Place, size: int) -> None:
    source, destination = place.docker_registry("source"), place.docker_registry("destination")
    push_over_http(source.url, REPOSITORY, place.image, [TAG])
    door = place.proxy.open_door(source.address)
    door.cut_down = size // PARTS
    run = place.sync(door.address, destination.address, destination.url)
    excess = door.bytes_down / place.image.size_bytes - 1
    print(f"{door.cuts} cuts, {door.bytes_down:,} bytes read, {excess:+.2%}")
    assert door.cuts >= PARTS - 1
    assert excess <= MOST_EXCESS
    assert run.report["totals"]["bytes_moved"] == place.image.size_bytes


@pytest.mark.extended
@sizes
def test_a_destination_that_keeps_what_it_has_is_sent_only_the_rest(place: Place, size: int) -> None:
    source = place.embedded("source", Behaviour())
    destination = place.embedded("destination", replace(Behaviour(), keep_partial=True))
    push_to(source.storage, REPOSITORY, place.image, [TAG])
    door = place.proxy.open_door(destination.address)
    door.cut_up = size // PARTS
    place.sync(source.address, door.address, destination.url)
    moved = destination.counters.bytes_in
    excess = moved / place.image.size_bytes - 1
    print(f"{door.cuts} cuts, {moved:,} bytes sent, {excess:+.2%}; read {source.counters.bytes_out:,}")
    assert door.cuts >= PARTS - 1
    assert excess <= MOST_EXCESS


@pytest.mark.extended
@pytest.mark.real
@sizes
def test_a_destination_that_forgets_what_it_had_gets_the_blob_all_the_same(place: Place, size: int) -> None:
    """On distribution 2.8 a cut inside a body ends the session: here the first PUT is cut, and the first two pieces."""
    source, destination = place.embedded("source", Behaviour()), place.docker_registry("destination")
    push_to(source.storage, REPOSITORY, place.image, [TAG])
    door = place.proxy.open_door(destination.address)
    pieces = ProxyFault(Action.RESET, Moment.REQUEST_BODY, "patch upload", times=2, after_bytes=MIB)
    door.break_with(pieces)
    door.cut_up, door.cut_times = size // PARTS, 1
    place.sync(source.address, door.address, destination.url)
    excess = door.bytes_up / place.image.size_bytes - 1
    print(f"{door.cuts + door.strikes.struck[pieces]} cuts, {door.bytes_up:,} bytes sent, {excess:+.2%}")
    assert (door.cuts, door.strikes.struck[pieces]) == (1, 2)
    assert excess <= 1 / PARTS + MOST_EXCESS
