from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.telemetry import logs
from support.certificates import Certificates, make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A private authority, and a certificate of it for loopback."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def short_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pauses before another try are short, and the same each time; nobody's real credentials are found."""
    monkeypatch.setattr("random.random", lambda: 0.2)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    yield
    for sink in logs._sinks:
        sink.close()
    logs._sinks.clear()
