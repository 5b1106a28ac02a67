"""The catalog of a registry that nobody here has written."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http
from support.client import Client

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder
    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = pytest.mark.real


def test_a_repository_that_is_listed_and_has_no_tags(
    command: Command, source: DockerRegistry, destination: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    """An upload that was given up leaves one: distribution lists it, and answers 404 to who asks for its tags."""
    push_over_http(source.url, f"{repository}/whole", content.image(1), ["v1"])
    data = repository.encode()
    with Client(source.url) as client:
        pushed = client.push_blob(f"{repository}/blobs", data, f"sha256:{hashlib.sha256(data).hexdigest()}")
        assert pushed.status == 201
        assert client.get(f"/v2/{repository}/blobs/tags/list").codes == ["NAME_UNKNOWN"]
    insecure = {each.address: {"insecure": True} for each in (source, destination)}
    rule = {"source": f"{source.address}/{repository}/*", "destination": f"{destination.address}/**"}
    config = command.write("own.json", json.dumps({"version": 2, "registries": insecure, "rules": [rule]}))
    ran = command.run("sync", "--config", config)
    assert ran.outcomes == {"copied": 1, "skipped": 1}
    [skipped] = [image for image in ran.images if image["outcome"] == "skipped"]
    assert skipped["source"] == f"{source.address}/{repository}/blobs"
    assert "says that it is not there" in skipped["reason"]
