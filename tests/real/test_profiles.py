"""A registry whose profile is named: what is there already is found by a mount from itself, or else by HEAD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http
from real.conftest import INSECURE

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder
    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = [pytest.mark.real, pytest.mark.extended]


@pytest.mark.parametrize(
    ("profile", "asked_by"),
    [("registry2", "start upload"), ({"kind": "registry2", "mounts_from_itself": False}, "head blob")],
)
def test_blobs_that_are_there_are_found_without_a_journal(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
    profile: object,
    asked_by: str,
) -> None:
    image = content.image(3)
    push_over_http(source.url, repository, image, ["v1"])
    auth = {source.address: INSECURE, destination.address: {**INSECURE, "profile": profile}}
    first, again = (
        command.sync(auth, {f"{source.address}/{repository}:v1": f"{destination.address}/{repository}:{tag}"})
        for tag in ("v1", "again")
    )
    assert first.totals["requests"]["put upload"] == 4
    assert "put upload" not in again.totals["requests"]
    assert again.totals["requests"][asked_by] == 4
