from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from contract.target import DISTRIBUTION_2_8, EMBEDDED, Target
from image_syncer.embedded import ContentBuilder, DirectoryStorage, MemoryStorage, serve_in_thread
from support.client import Client
from support.docker_registry import serve_docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry


@contextmanager
def serve_target(name: str, directory: Path) -> Iterator[Target]:
    """A running registry of that name: "memory", "directory" or "docker-registry"."""
    with ExitStack() as stack:
        if name == "docker-registry":
            real = stack.enter_context(serve_docker_registry(directory))
            yield Target(name, real.url, DISTRIBUTION_2_8)
        else:
            storage = MemoryStorage() if name == "memory" else DirectoryStorage(directory)
            embedded = stack.enter_context(serve_in_thread(storage))
            yield Target(name, embedded.url, EMBEDDED)


@pytest.fixture(
    scope="session",
    params=["memory", "directory", pytest.param("docker-registry", marks=pytest.mark.real)],
)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The registry under test; one for all tests, so each test works in a repository of its own."""
    with serve_target(request.param, tmp_path_factory.mktemp(request.param) / "registry") as running:
        yield running


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    made = target.client()
    yield made
    made.close()


_count = iter(range(10**9))


@pytest.fixture
def repository() -> str:
    """A repository that nobody else uses."""
    return f"contract/test-{next(_count)}"


@pytest.fixture
def content() -> ContentBuilder:
    """Content that no other test makes: what is in the registry already must not help."""
    return ContentBuilder(seed=next(_count))


@pytest.fixture
def embedded() -> Iterator[EmbeddedRegistry]:
    """An embedded registry of the test's own, at its defaults; the test sets its behaviour."""
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def judge(embedded: EmbeddedRegistry) -> Iterator[Client]:
    """A client of `embedded`."""
    with Client(embedded.url) as made:
        yield made
