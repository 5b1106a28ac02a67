"""The suite runs against each registry that says it keeps to the OCI distribution specification 1.1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.deviations import DISTRIBUTION_2_8
from contract.conftest import serve_target
from image_syncer.embedded import ContentBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract.target import Target
    from support.client import Client

DEVIATIONS = {"memory": {}, "directory": {}, "docker-registry": DISTRIBUTION_2_8}
_count = iter(range(10**9))


@pytest.fixture(
    scope="session",
    params=["memory", "directory", pytest.param("docker-registry", marks=pytest.mark.real)],
)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The registry under test."""
    with serve_target(request.param, tmp_path_factory.mktemp(request.param) / "registry") as running:
        yield running


@pytest.fixture(autouse=True)
def _deviation(request: pytest.FixtureRequest, target: Target) -> None:
    test = f"{Path(request.node.path).name}::{request.node.originalname}"
    case = request.node.callspec.id.removeprefix(target.name)
    known = DEVIATIONS[target.name]
    reason = known.get(test) or known.get(f"{test}[{case.removeprefix('-')}]")
    if reason is not None:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    """A client that may do everything."""
    made = target.client()
    yield made
    made.close()


@pytest.fixture
def repository() -> str:
    """A repository that nobody else uses."""
    return f"conformance/test-{next(_count)}"


@pytest.fixture
def content() -> ContentBuilder:
    """Content that no other test makes."""
    return ContentBuilder(seed=10**6 + next(_count))
