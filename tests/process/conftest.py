"""Two embedded registries, one of which has images, and what a run between them is judged by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    DemoImage,
    EmbeddedRegistry,
    audit_registry,
    push_to,
    serve_in_thread,
)
from support.client import Client
from support.processes import wait_until
from support.sync_process import RunFiles, SyncProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from image_syncer.embedded import MadeManifest

MIB = 2**20


@dataclass
class Pair:
    """A source and a destination on loopback, and the images that are to be copied."""

    source: EmbeddedRegistry
    destination: EmbeddedRegistry
    directory: Path
    images: list[DemoImage] = field(default_factory=list)
    _runs: int = 0

    def add(self, repository: str, tag: str, manifest: MadeManifest) -> DemoImage:
        """Push an image to the source, and have it copied."""
        push_to(self.source.storage, repository, manifest, [tag])
        self.images.append(DemoImage(repository, tag, manifest))
        return self.images[-1]

    def add_images(self, count: int, *, layers: int = 1, layer_bytes: int = MIB) -> None:
        """`count` images that share nothing, each in a repository of its own."""
        builder = ContentBuilder(len(self.images))
        for number in range(len(self.images), len(self.images) + count):
            self.add(f"team/app{number}", "v1", builder.image(layers, layer_bytes=layer_bytes))

    def run(
        self,
        *words: str,
        all_tags: bool = False,
        settings: Mapping[str, object] | None = None,
        **more: Any,
    ) -> SyncProcess:
        """Start a run that copies all images; see `SyncProcess`."""
        self._runs += 1
        files = RunFiles(self.directory / f"run{self._runs}")
        files.write(self.source.address, self.destination.address, self.images, all_tags=all_tags)
        return SyncProcess(files, *words, settings=settings, **more)

    def slow_down(self, bytes_per_s: float) -> None:
        """From the next request on the source sends no blob faster than this."""
        self.source.behaviour = Behaviour(bandwidth_bytes_per_s=bytes_per_s)

    def speed_up(self) -> None:
        """From the next request on the source sends as fast as it can."""
        self.source.behaviour = Behaviour()

    def wait_for_bytes(self, count: int) -> None:
        """Returns when the source has sent so many bytes of blobs."""
        wait_until(lambda: self.source.counters.bytes_out >= count, f"{count} bytes from the source")

    def assert_copied(self, images: list[DemoImage] | None = None) -> None:
        """The destination has every byte of the images (all, where none are given)."""
        wanted = self.images if images is None else images
        assert wanted
        assert audit_registry(self.destination.url, wanted).mistakes == []

    def assert_consistent(self) -> int:
        """Whatever tags the destination has are whole; how many of the images they are."""
        with Client(self.destination.url) as client:
            present = [
                image
                for image in self.images
                if client.head(f"/v2/{image.repository}/manifests/{image.tag}").status == 200
            ]
        assert audit_registry(self.destination.url, present).mistakes == []
        return len(present)

    def puts(self, status: int = 201) -> int:
        """How many blobs the destination has committed."""
        return self.destination.counters.values().statuses.get(f"put upload {status}", 0)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with serve_in_thread() as source, serve_in_thread() as destination:
        yield Pair(source, destination, tmp_path)
