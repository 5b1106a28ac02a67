"""A pair of registries, and how a program names them without a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import image_syncer
from image_syncer.embedded import serve_in_thread
from process.conftest import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class World(Pair):
    """What a program of a stranger makes of a pair, with public names only."""

    @property
    def configuration(self) -> image_syncer.Configuration:
        rules = [
            image_syncer.rule_from_arguments(
                f"{self.source.address}/{image.repository}:{image.tag}",
                f"{self.destination.address}/{image.repository}",
            )
            for image in self.images
        ]
        entries = [
            image_syncer.RegistryEntry(registry.address, insecure=True) for registry in (self.source, self.destination)
        ]
        return image_syncer.Configuration(tuple(rules), image_syncer.RegistryBook(entries))

    def settings(self, **settings: object) -> image_syncer.Settings:
        """Those of a run with one worker and a report."""
        written = {"workers": 1, "report_path": str(self.directory / "report.json"), **settings}
        return image_syncer.Settings(**written)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # nobody's real credentials
    with serve_in_thread() as source, serve_in_thread() as destination:
        yield World(source, destination, tmp_path)
