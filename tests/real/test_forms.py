"""Forms of images between docker-registries: foreign layers, schema 1, and conversion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http, push_to, serve_in_thread
from image_syncer.embedded.content import build_manifest
from image_syncer.oci import DOCKER_FOREIGN_LAYER, DOCKER_MANIFEST_LIST, OCI_INDEX
from real.conftest import INSECURE
from support.client import Client
from support.docker_registry import serve_docker_registry
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import ContentBuilder
    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = pytest.mark.real


@pytest.mark.extended
def test_foreign_layers_are_copied_where_the_source_has_them(
    command: Command, source: DockerRegistry, destination: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    plain = content.image(1, platform="windows/amd64", docker=True)
    foreign = content.layer(media_type=DOCKER_FOREIGN_LAYER)
    value = json.loads(plain.raw)
    value["layers"].insert(0, foreign.descriptor(urls=["https://layers.example.com/windows"]))
    image = build_manifest(value, (*plain.blobs, foreign), platform=plain.platform)
    push_over_http(source.url, repository, image, ["v1"])
    auth = command.write("auth.yaml", {each.address: INSECURE for each in (source, destination)})
    names = [f"{each.address}/{repository}:v1" for each in (source, destination)]
    path = f"/v2/{repository}/blobs/{foreign.digest}"
    command.run("copy", *names, "--auth", auth)
    with Client(destination.url) as client:
        assert client.head(path).status == 404
        assert command.run("copy", *names, "--auth", auth, "--foreign-layers", "refuse").outcomes == {"unchanged": 1}
        command.run("copy", *names, "--auth", auth, "--foreign-layers", "copy", "--force")
        assert client.get(path).body == foreign.read()
        assert client.get(f"/v2/{repository}/manifests/v1", Accept=image.media_type).body == image.raw


@pytest.mark.extended
def test_a_registry_that_takes_no_urls(
    command: Command, source: DockerRegistry, content: ContentBuilder, repository: str, tmp_path: Path
) -> None:
    push_over_http(source.url, repository, content.foreign_image(), ["v1"])
    with serve_docker_registry(tmp_path / "strict", foreign_urls=False) as destination:
        auth = command.write("auth.yaml", {each.address: INSECURE for each in (source, destination)})
        names = [f"{each.address}/{repository}:v1" for each in (source, destination)]
        ran = command.run("copy", *names, "--auth", auth, "--retries", "0", code=1)
    assert "validation.manifests.urls.allow" in ran.images[0]["error"]["hint"]


@pytest.mark.extended
def test_schema_1_is_skipped_where_its_signature_proves_nothing(
    command: Command, destination: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    with serve_in_thread() as source:
        push_to(source.storage, repository, content.schema1(), ["v1"])
        auth = command.write("auth.yaml", {each.address: INSECURE for each in (source, destination)})
        names = [f"{each.address}/{repository}:v1" for each in (source, destination)]
        ran = command.run("copy", *names, "--auth", auth)
    assert ran.outcomes == {"skipped": 1}
    assert "takes no schema 1 manifests" in ran.images[0]["reason"]
    assert "MANIFEST_INVALID" in ran.images[0]["reason"]


@pytest.mark.extended
@pytest.mark.parametrize("docker", [True, False])
def test_an_index_is_converted_and_skopeo_reads_it(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    content: ContentBuilder,
    repository: str,
    tmp_path: Path,
    *,
    docker: bool,
) -> None:
    made = content.index(docker=docker)
    push_over_http(source.url, repository, made, ["v1"])
    auth = command.write("auth.yaml", {each.address: INSECURE for each in (source, destination)})
    names = [f"{each.address}/{repository}:v1" for each in (source, destination)]
    wanted, other = ("oci", "docker") if docker else ("docker", "oci")
    ran = command.run("copy", *names, "--auth", auth, "--format", wanted, "--verify")
    [image] = ran.images
    assert image["source_digest"] == made.digest != image["destination_digest"]
    assert command.run("copy", *names, "--auth", auth, "--format", wanted).outcomes == {"unchanged": 1}
    with Client(destination.url) as client:
        found = client.get(f"/v2/{repository}/manifests/v1", Accept=OCI_INDEX if docker else DOCKER_MANIFEST_LIST)
    assert found.headers["docker-content-digest"] == image["destination_digest"]
    Skopeo().copy_to_directory(names[1], tmp_path / "copied")  # which checks every digest
    back = f"{destination.address}/{repository}:back"
    command.run("copy", names[1], back, "--auth", auth, "--format", other)
    with Client(destination.url) as client:
        assert client.get(f"/v2/{repository}/manifests/back", Accept=made.media_type).body == made.raw
