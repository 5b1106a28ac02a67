from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from contract.exceptions import EXCEPTIONS
from contract.target import CAN, DISTRIBUTION_2_8, EMBEDDED, Target
from image_syncer.embedded import DOUBLES, ContentBuilder, DirectoryStorage, MemoryStorage, serve_in_thread
from support.client import Client
from support.docker_registry import serve_docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry


MOST_UNLIKE = frozenset({"ecr", "gar", "quay", "nexus", "artifactory", "registry2", "zot"})
"""The doubles that take the contract each time; what the others do otherwise, one of these does too."""


@contextmanager
def serve_target(name: str, directory: Path) -> Iterator[Target]:
    """A running registry of that name: "memory", "directory", "docker-registry", or the kind of a double.

    A double asks for no password here, limits nobody and needs no project beforehand: what it says to those who come
    otherwise is asked in test_doubles.py.
    """
    with ExitStack() as stack:
        if name == "docker-registry":
            real = stack.enter_context(serve_docker_registry(directory))
            yield Target(name, real.url, DISTRIBUTION_2_8)
        elif name in DOUBLES:
            behaviour = replace(
                DOUBLES[name].behaviour,
                users={},
                anonymous=(),
                bearer=None,
                rate_limits=(),
                pull_limit=None,
                implicit_projects=True,
                deletes=DOUBLES[name].behaviour.deletes or name.startswith("registry"),  # a setting of theirs
            )
            yield Target(name, stack.enter_context(serve_in_thread(behaviour=behaviour)).url, CAN[name])
        else:
            storage = MemoryStorage() if name == "memory" else DirectoryStorage(directory)
            embedded = stack.enter_context(serve_in_thread(storage))
            yield Target(name, embedded.url, EMBEDDED)


@pytest.fixture(
    scope="session",
    params=[
        "memory",
        "directory",
        pytest.param("docker-registry", marks=pytest.mark.real),
        *(kind if kind in MOST_UNLIKE else pytest.param(kind, marks=pytest.mark.slow) for kind in DOUBLES),
    ],
)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The registry under test; one for all tests, so each test works in a repository of its own."""
    with serve_target(request.param, tmp_path_factory.mktemp(request.param) / "registry") as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """skopeo meets the doubles in tests/registries, with what they ask of clients; not here too."""
    items[:] = [item for item in items if not (_kind_of(item) in DOUBLES and item.get_closest_marker("real"))]


def _kind_of(item: pytest.Item) -> str:
    """The kind of the double that the test is for; "" where it is for none."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("target", "")) if callspec is not None else ""


@pytest.fixture(autouse=True)
def exception(request: pytest.FixtureRequest) -> None:
    """What a double is known to do otherwise: the test must fail with it, or its entry is not needed."""
    kind = _kind_of(request.node)
    of_kind = EXCEPTIONS.get(kind, {})
    name = request.node.name.replace(f"[{kind}-", "[").replace(f"[{kind}]", "")
    reason = of_kind.get(name) or of_kind.get(request.node.originalname)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


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
