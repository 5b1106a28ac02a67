"""`image-syncer copy` between two docker-registries: one image, a repository, some platforms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_over_http
from support.access_log import AccessLog
from support.client import Client
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Command, Ran
    from support.docker_registry import DockerRegistry

pytestmark = pytest.mark.real


@pytest.fixture
def copy(command: Command, source: DockerRegistry, destination: DockerRegistry) -> _Copy:
    return _Copy(command, source, destination)


class _Copy:
    """Runs `image-syncer copy`, both names without their registries."""

    def __init__(self, command: Command, source: DockerRegistry, destination: DockerRegistry) -> None:
        self._command = command
        self.source = source
        self.destination = destination
        self.logs = AccessLog(source), AccessLog(destination)

    def __call__(self, name: str, target: str, *words: str, code: int = 0) -> Ran:
        self.logs = AccessLog(self.source), AccessLog(self.destination)
        ends = f"{self.source.address}/{name}", f"{self.destination.address}/{target}"
        insecure = ("--insecure", self.source.address, "--insecure", self.destination.address)
        return self._command.run("copy", *ends, *insecure, *words, code=code)

    def requests(self) -> list[list[tuple[str, int]]]:
        """What the last run asked each side, and the answers."""
        return [[(request.kind, request.status) for request in log.requests()] for log in self.logs]

    def tags(self, repository: str) -> list[str]:
        """The tags at the destination."""
        with Client(self.destination.url) as client:
            return sorted(client.get(f"/v2/{repository}/tags/list").json()["tags"])


@pytest.mark.extended
def test_the_tag_of_the_source_or_another(copy: _Copy, repository: str, content: ContentBuilder) -> None:
    image = content.index(attestations=True)
    push_over_http(copy.source.url, repository, image, ["v1", "latest"])
    assert copy(f"{repository}:v1", repository).image["destination"].endswith(f"/{repository}:v1")
    assert copy(f"{repository}:v1", f"{repository}:other").outcomes == {"copied": 1}
    assert copy(repository, repository).image["destination"].endswith(f"/{repository}:latest")
    assert copy.tags(repository) == ["latest", "other", "v1"]
    assert Skopeo().inspect_raw(f"{copy.destination.address}/{repository}:other") == image.raw


def test_by_digest(copy: _Copy, repository: str, content: ContentBuilder) -> None:
    image = content.image(docker=True)
    push_over_http(copy.source.url, repository, image)
    assert copy(f"{repository}@{image.digest}", f"{repository}:pinned").outcomes == {"copied": 1}
    assert copy(f"{repository}@{image.digest}", repository).outcomes == {"unchanged": 1}
    assert Skopeo().digest(f"{copy.destination.address}/{repository}:pinned") == image.digest


def test_every_tag_of_a_repository(copy: _Copy, repository: str, content: ContentBuilder) -> None:
    images = {f"v{number}": content.image() for number in range(7)}
    for tag, image in images.items():
        push_over_http(copy.source.url, repository, image, [tag])
    assert copy(repository, f"{repository}-mirror", "--all-tags").outcomes == {"copied": len(images)}
    assert copy.tags(f"{repository}-mirror") == sorted(images)
    for tag, image in images.items():
        assert Skopeo().inspect_raw(f"{copy.destination.address}/{repository}-mirror:{tag}") == image.raw
    assert copy(repository, f"{repository}-mirror", "--all-tags").outcomes == {"unchanged": len(images)}


def test_a_tag_that_is_not_there(copy: _Copy, repository: str, content: ContentBuilder) -> None:
    push_over_http(copy.source.url, repository, content.image(), ["v1"])
    ran = copy(f"{repository}:v2", repository, code=1)
    assert f"source {copy.source.address}/{repository}:v2" in ran.failure
    assert "404" in ran.failure
    assert "Check the name and the tag" in ran.failure


@pytest.mark.extended
def test_one_platform_of_an_index(copy: _Copy, repository: str, content: ContentBuilder, tmp_path: Path) -> None:
    index = content.index(attestations=True, annotations={"org.example.kept": "yes"})
    push_over_http(copy.source.url, repository, index, ["v1"])
    ran = copy(f"{repository}:v1", repository, "--platform", "linux/amd64")
    assert ran.image["source_digest"] == index.digest
    digest = ran.image["destination_digest"]
    assert digest != index.digest

    # What stays: the image and its attestation, as they were, and everything else that the index says.
    reference = f"{copy.destination.address}/{repository}:v1"
    skopeo = Skopeo()
    assert skopeo.digest(reference) == digest
    before, after = json.loads(index.raw), json.loads(skopeo.inspect_raw(reference))
    assert after == {**before, "manifests": [before["manifests"][0], before["manifests"][3]]}
    assert list(after) == list(before)

    # skopeo takes it for what it is, with both images under it.
    directory = tmp_path / "copied"
    skopeo.copy_to_directory(reference, directory)
    files = {path.read_bytes() for path in directory.iterdir()}
    kept = [index.children[0], index.children[3]]
    assert files >= {child.raw for child in kept} | {blob.read() for child in kept for blob in child.blobs}
    for child in [child for child in index.children if child not in kept]:
        with Client(copy.destination.url) as client:
            assert client.head(f"/v2/{repository}/manifests/{child.digest}").status == 404

    # A second run computes the same, and finds it there: two requests, and the index that has to be filtered.
    again = copy(f"{repository}:v1", repository, "--platform", "linux/amd64")
    assert again.outcomes == {"unchanged": 1}
    assert again.image["destination_digest"] == digest
    assert copy.requests() == [[("head manifest", 200), ("get manifest", 200)], [("head manifest", 200)]]

    # So does one that goes elsewhere, or names the platform in another way.
    other = copy(f"{repository}:v1", f"{repository}-other", "--platform", "linux/x86_64")
    assert other.image["destination_digest"] == digest


@pytest.mark.extended
@pytest.mark.parametrize("shape", ["docker list", "nested", "pretty"])
def test_one_platform_of_other_indexes(copy: _Copy, repository: str, content: ContentBuilder, shape: str) -> None:
    index = made(shape, content)
    push_over_http(copy.source.url, repository, index, ["v1"])
    words = (f"{repository}:v1", repository, "--platform", "linux/amd64")
    ran = copy(*words)
    assert ran.outcomes == {"copied": 1}
    raw = Skopeo().inspect_raw(f"{copy.destination.address}/{repository}:v1")
    assert ran.image["destination_digest"] == Skopeo().digest(f"{copy.destination.address}/{repository}:v1")
    value = json.loads(raw)
    assert value["mediaType"] == index.media_type
    assert "s390x" not in str(value)
    assert "arm" not in str(value)
    with Client(copy.destination.url) as client:
        for child in value["manifests"]:
            answer = client.get(f"/v2/{repository}/manifests/{child['digest']}", Accept=child["mediaType"])
            assert (answer.status, len(answer.body)) == (200, child["size"])
            assert b"s390x" not in answer.body
    assert copy(*words).outcomes == {"unchanged": 1}


def made(shape: str, content: ContentBuilder) -> MadeManifest:
    if shape == "docker list":
        return content.index(docker=True)
    return content.nested_index() if shape == "nested" else content.pretty_index()


def test_a_platform_that_an_index_does_not_have(copy: _Copy, repository: str, content: ContentBuilder) -> None:
    push_over_http(copy.source.url, repository, content.index(), ["v1"])
    ran = copy(f"{repository}:v1", repository, "--platform", "windows/amd64")
    assert ran.outcomes == {"skipped": 1}
    assert "windows/amd64" in ran.image["reason"]
    assert {request.method for log in copy.logs for request in log.requests()} == {"HEAD", "GET"}


@pytest.mark.extended
def test_the_platform_of_a_single_image(copy: _Copy, repository: str, content: ContentBuilder) -> None:
    push_over_http(copy.source.url, repository, content.image(platform="linux/arm64"), ["v1"])
    ran = copy(f"{repository}:v1", repository, "--platform", "linux/amd64")
    assert ran.outcomes == {"skipped": 1}
    assert "linux/arm64" in ran.image["reason"]
    assert copy(f"{repository}:v1", repository, "--platform", "linux/arm64").outcomes == {"copied": 1}
