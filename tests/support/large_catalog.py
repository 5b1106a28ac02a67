"""A registry with a large catalog, made up in seconds and served by a process of its own.

Every repository has the same tags, and all tags share a few small images: what a run has to list, select and compare is
as much as in a large registry, and what it has to move is little.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    CounterValues,
    EmbeddedRegistry,
    MemoryStorage,
    StoredManifest,
    push_to,
)
from image_syncer.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.embedded import MadeManifest, Storage

APPS_OF_A_TEAM = 40
IMAGES = 16
TIMEOUT_S = 60.0
STOP_S = 10.0
_SOURCE_ROOTS = (str(Path(__file__).parents[2] / "engine"), str(Path(__file__).parents[1]))


@dataclass(frozen=True)
class CatalogShape:
    """How many repositories, tags in each, and names on a page of a list. `prefix` leads the repositories' names."""

    repositories: int
    tags: int
    page: int = 1000
    prefix: str = ""

    def names(self) -> Iterator[str]:
        """`team-00/app-00` and so on."""
        for number in range(self.repositories):
            yield f"{self.prefix}team-{number // APPS_OF_A_TEAM:02}/app-{number % APPS_OF_A_TEAM:02}"

    def tag_names(self) -> list[str]:
        """A fifth of the tags are prereleases, and a tenth of them no version; the other versions are 1.x and 2.x."""
        tags = []
        for number in range(self.tags):
            major, minor, patch = 1 + number % 2, number // 10, number % 10
            if number % 10 == 9:
                tags.append("latest" if number == 9 else f"build-{number:06x}")
            elif number % 5 == 3:
                tags.append(f"v{major}.{minor}.{patch}-rc.1")
            else:
                tags.append(f"v{major}.{minor}.{patch}")
        return tags

    def images(self) -> list[MadeManifest]:
        """What the tags stand for, in turn: one layer for all, and a configuration for each."""
        content = ContentBuilder(seed=2026)
        base = content.layer(256)
        return [content.image([base], created=f"20{year:02}-01-01T00:00:00Z") for year in range(IMAGES)]


def fill(storage: Storage, shape: CatalogShape) -> None:
    """Put the catalog into `storage`, without a server in between."""
    images = shape.images()
    tags = list(enumerate(shape.tag_names()))
    for name in shape.names():
        stored = []
        for image in images:
            push_to(storage, name, image)
            found = storage.manifest(name, Digest(image.digest))
            assert isinstance(found, StoredManifest)
            stored.append((found, image.raw))
        for number, tag in tags:
            storage.put_manifest(name, *stored[number % IMAGES], tag)


class LargeRegistry:
    """The registry of a `shape` (None: an empty one), in a child process until the block is left."""

    def __init__(self, shape: CatalogShape | None) -> None:
        self._settings = None if shape is None else asdict(shape)

    def __enter__(self) -> LargeRegistry:  # noqa: PYI034 - Self came with Python 3.11
        self._child = subprocess.Popen(
            [sys.executable, __file__, json.dumps(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_SOURCE_ROOTS)},
        )
        assert self._child.stdout is not None
        self.address = self._child.stdout.readline().decode().strip()
        assert self.address, "the registry's process ended before it answered"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()  # which ends it
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()

    def counters(self) -> CounterValues:
        """What was counted so far."""
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/_counters")
            return CounterValues(**json.loads(connection.getresponse().read()))
        finally:
            connection.close()


async def _serve(settings: dict[str, object] | None) -> None:
    storage, behaviour = MemoryStorage(), Behaviour()
    if settings is not None:
        shape = CatalogShape(**settings)  # type: ignore[arg-type] - what `asdict` made
        fill(storage, shape)
        behaviour = Behaviour(max_page_size=shape.page)
    registry = EmbeddedRegistry(storage, behaviour, control=True)
    await registry.start()
    print(registry.address, flush=True)
    await asyncio.Event().wait()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(_serve(json.loads(sys.argv[1])))
