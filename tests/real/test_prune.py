"""Prunes at docker-registry (distribution 2.8), which deletes by digest only and takes all tags along; then its own
garbage collection, and skopeo for what is left.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http
from support.client import Client
from support.command import Command
from support.docker_registry import serve_docker_registry
from support.programs import find_program
from support.signed_images import fallback_index, signed_image
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.command import Ran
    from support.docker_registry import DockerRegistry

pytestmark = pytest.mark.real

MANIFEST = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


def prune(
    directory: Path, source: DockerRegistry, destination: DockerRegistry, repository: str, *, code: int = 0
) -> Ran:
    """`image-syncer prune --yes`, by a rule for all tags of `repository`."""
    command = Command(directory, workers=None)
    rules = {
        "version": 2,
        "registries": {each.address: {"insecure": True} for each in (source, destination)},
        "rules": [{"source": f"{source.address}/{repository}", "destination": f"{destination.address}/{repository}"}],
    }
    words = ("prune", "--config", command.write("rules.yaml", rules), "--yes", "--prune-most", "100%")
    return command.run(*words, code=code)


def tags(registry: DockerRegistry, repository: str) -> list[str]:
    with Client(registry.url) as client:
        return sorted(client.get(f"/v2/{repository}/tags/list").json()["tags"] or [])


def status(registry: DockerRegistry, repository: str, made: MadeManifest) -> int:
    with Client(registry.url) as client:
        return int(client.get(f"/v2/{repository}/manifests/{made.digest}", accept=MANIFEST).status)


def test_kept_images_are_whole_after_the_registry_has_collected_its_garbage(
    tmp_path: Path, source: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    shared = content.layer()
    kept = content.index([content.image([shared, content.layer()], platform="linux/amd64"), content.image(1)])
    # It shares a layer with what stays.
    gone = content.index([content.image([shared, content.layer()]), content.image(2)])
    push_over_http(source.url, repository, kept, ["v2"])
    directory = tmp_path / "registry"
    with serve_docker_registry(directory) as destination:
        push_over_http(destination.url, repository, gone, ["v1"])
        push_over_http(destination.url, repository, kept.children[0], ["v2-amd64"])
        push_over_http(destination.url, repository, kept, ["v2", "latest"])
        ran = prune(tmp_path, source, destination, repository, code=1)
        assert tags(destination, repository) == ["latest", "v2", "v2-amd64"]
        outcomes = {tuple(each["tags"]): each["outcome"] for each in ran.report["pruned"]["deletions"]}
        assert (outcomes["v1",], outcomes["latest",], outcomes["v2-amd64",]) == ("deleted", "left", "left")
        assert "deletes no tag without its manifest" in ran.err
        for made in gone.manifests():
            assert status(destination, repository, made) == 404
        root = destination.root
    collected = subprocess.run(
        [find_program("docker-registry"), "garbage-collect", str(directory / "config.yml")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "eligible for deletion: sha256:" in collected.stdout
    with serve_docker_registry(tmp_path / "again", root=root) as destination:
        place = f"{destination.address}/{repository}"
        for tag, made in (("v2", kept), ("latest", kept), ("v2-amd64", kept.children[0])):
            Skopeo().copy_to_directory(f"{place}:{tag}", tmp_path / tag)
            assert (tmp_path / tag / "manifest.json").read_bytes() == made.raw
            for blob in made.all_blobs():
                assert (tmp_path / tag / blob.digest.partition(":")[2]).read_bytes() == blob.read()
        with Client(destination.url) as client:
            own = [blob for blob in gone.all_blobs() if blob.digest not in {each.digest for each in kept.all_blobs()}]
            assert own
            for blob in own:
                assert client.get(f"/v2/{repository}/blobs/{blob.digest}").status == 404


@pytest.mark.slow
def test_signatures_go_and_stay_with_their_images(
    tmp_path: Path, source: DockerRegistry, destination: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    stays, goes = signed_image(content), signed_image(content)
    push_over_http(source.url, repository, stays.root, ["v1"])
    for image, tag in ((stays, "v1"), (goes, "v0")):
        push_over_http(destination.url, repository, image.root, [tag])
        push_over_http(destination.url, repository, image.cosign, [image.cosign_tag])
        for subject, referrer in image.by_subject.items():
            push_over_http(destination.url, repository, referrer)
            push_over_http(
                destination.url, repository, fallback_index(content, referrer), [image.fallback_tags[subject]]
            )
    prune(tmp_path, source, destination, repository)
    assert tags(destination, repository) == sorted(["v1", stays.cosign_tag, *stays.fallback_tags.values()])
    for made in (*stays.root.manifests(), stays.cosign, *stays.by_subject.values()):
        assert status(destination, repository, made) == 200
    for made in (*goes.root.manifests(), goes.cosign, *goes.by_subject.values()):
        assert status(destination, repository, made) == 404


@pytest.mark.extended
def test_where_deletes_are_off_it_is_said_how_they_are_switched_on(
    tmp_path: Path, source: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    push_over_http(source.url, repository, content.image(1), ["v1"])
    with serve_docker_registry(tmp_path / "registry", deletes=False) as destination:
        push_over_http(destination.url, repository, content.image(1), ["old"])
        ran = prune(tmp_path, source, destination, repository, code=1)
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in ran.err
        assert tags(destination, repository) == ["old"]
