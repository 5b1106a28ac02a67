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
    """Plain registries, and runs in which the pauses before another try are as short as can be."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # nobody's real credentials
    with ExitStack() as stack:
        yield SyncLab(stack, tmp_path)
    for sink in logs._sinks:
        sink.close()
    logs._sinks.clear()
