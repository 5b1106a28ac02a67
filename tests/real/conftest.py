"""Two registries that nobody here has written, and the command between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder
from support.certificates import Certificates, make_certificates
from support.command import Command
from support.docker_registry import DockerRegistry, serve_docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSECURE = {"insecure": True}
_count = iter(range(10**6))


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A docker-registry in plain HTTP, without a password; all tests share it, each in a repository of its own."""
    with serve_docker_registry(tmp_path_factory.mktemp("source")) as running:
        yield running


@pytest.fixture(scope="session")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Another one like `source`."""
    with serve_docker_registry(tmp_path_factory.mktemp("destination")) as running:
        yield running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A private authority, and a certificate of it for loopback."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command, in a directory of its own."""
    directory = tmp_path / "run"
    directory.mkdir()
    return Command(directory)


@pytest.fixture
def content() -> ContentBuilder:
    """Content that no other test makes: what is in the registry already must not help."""
    return ContentBuilder(seed=10_000 + next(_count))


@pytest.fixture
def repository() -> str:
    """A repository that nobody else uses."""
    return f"real/test-{next(_count)}"
