"""Runs between embedded registries, with those who look on at them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from image_syncer.telemetry import logs
from support.sync_runs import SyncLab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLab]:
    """A source, a destination, and runs between them."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # nobody's real credentials
    with ExitStack() as stack:
        yield SyncLab(stack, tmp_path)
    for sink in logs._sinks:
        sink.close()
    logs._sinks.clear()
