"""A source and a destination on loopback, and a webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import serve_in_thread
from support.watch_world import World, serve_hook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.watch_world import Hook


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serve_in_thread() as source, serve_in_thread() as destination:
        yield World(source, destination, tmp_path)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serve_hook() as hook:
        yield hook
