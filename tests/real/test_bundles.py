"""Bundles between docker-registries, with skopeo as the judge: it reads what we export, put together with cat."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, push_over_http
from support.programs import find_program, run_program
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = [pytest.mark.real, pytest.mark.extended]


def test_skopeo_reads_a_bundle_and_an_import_gives_the_same_digests(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
    tmp_path: Path,
) -> None:
    index = content.index(attestations=True)
    docker = content.image(2, docker=True, layer_bytes=900_000)
    push_over_http(source.url, repository, index, ["1.27"])
    push_over_http(source.url, f"{repository}/docker", docker, ["v1"])
    images = {f"{source.address}/{name}": f"any.example/{name}" for name in (repository, f"{repository}/docker")}
    (tmp_path / "images.json").write_text(json.dumps(images))
    (tmp_path / "auth.json").write_text(json.dumps({source.address: {"insecure": True}}))
    bundle = tmp_path / "bundle"
    words = ("--images", tmp_path / "images.json", "--auth", tmp_path / "auth.json", "--part-size", "1MiB")
    command.run("export", str(bundle), *map(str, words))
    parts = sorted(bundle.glob("part-*.tar"))
    assert len(parts) > 1
    archive = tmp_path / "images.tar"
    with archive.open("wb") as file:
        for part in parts:
            with part.open("rb") as one:
                shutil.copyfileobj(one, file)
    skopeo = Skopeo()
    # It finds names of OCI's own media types only: that of Docker's image is for us.
    named = f"oci-archive:{archive}:{repository}:1.27"
    assert run_program([find_program("skopeo"), "inspect", "--raw", named]) == index.raw
    copy = ["copy", "--all", "--preserve-digests", "--dest-tls-verify=false"]
    run_program([find_program("skopeo"), *copy, named, f"docker://{destination.address}/{repository}/skopeo:1"])
    assert skopeo.digest(f"{destination.address}/{repository}/skopeo:1") == index.digest
    target = f"{destination.address}/inside"
    command.run("import", str(bundle), "--to", target, "--insecure", destination.address)
    for name, image in ((f"{repository}:1.27", index), (f"{repository}/docker:v1", docker)):
        assert skopeo.digest(f"{target}/{name}") == image.digest
