"""A pull-through cache (distribution's own) as the mirror of a docker-registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, push_over_http
from real.conftest import INSECURE
from support.access_log import AccessLog
from support.docker_registry import DockerRegistry, serve_docker_registry
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.command import Command

pytestmark = [pytest.mark.real, pytest.mark.extended]


@pytest.fixture
def cache(source: DockerRegistry, tmp_path: Path) -> Iterator[DockerRegistry]:
    with serve_docker_registry(tmp_path / "cache", proxy_of=source.url) as running:
        yield running


def test_a_pull_through_cache_gives_all_but_the_tag(
    command: Command,
    source: DockerRegistry,
    cache: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
) -> None:
    """Twice: what the cache has to fetch itself, and what it has by then."""
    index = content.index(layer_bytes=200_000)
    push_over_http(source.url, repository, index, ["v1"])
    auth = {
        source.address: {"insecure": True, "mirrors": [cache.address]},
        cache.address: INSECURE,
        destination.address: INSECURE,
    }
    for target in ("first", "second"):
        log, asked = AccessLog(source), AccessLog(cache)
        images = {f"{source.address}/{repository}:v1": f"{destination.address}/{repository}-{target}"}
        ran = command.sync(auth, images, *(("--force",) if target == "second" else ()))
        assert ran.outcomes == {"copied": 1}
        [gave] = ran.report["mirrors"].values()
        assert gave["failures"] == 0
        assert gave["bytes"] >= 200_000
        wait_until(lambda log=log: len(log.requests()) >= 1, "the request for the tag")
        assert [request.kind for request in log.requests()] == ["head manifest"]
        assert {request.method for request in asked.requests()} == {"GET"}
