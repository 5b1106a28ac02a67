"""docker-registry whose storage lost what is below a tag, as garbage collection at the wrong moment does: `--force`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http
from real.conftest import INSECURE
from support.docker_registry import serve_docker_registry

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import ContentBuilder
    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = [pytest.mark.real, pytest.mark.extended]


def test_what_is_missing_is_brought_and_nothing_else(
    command: Command, tmp_path: Path, source: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    with serve_docker_registry(tmp_path / "destination") as destination:
        image = content.index(platforms=("linux/amd64", "linux/arm64", "linux/s390x"))
        push_over_http(source.url, repository, image, ["v1"])
        auth = {registry.address: INSECURE for registry in (source, destination)}
        rules = {f"{source.address}/{repository}:v1": f"{destination.address}/mirror/app"}
        words = ("--auth", command.write("auth.yaml", auth), "--images", command.write("images.yaml", rules))
        command.run("sync", *words, "--verify")

        storage = destination.root / "docker/registry/v2"
        lost, unlinked = (image.children[number].blobs[1].digest[7:] for number in (0, 1))
        child = image.children[2].digest[7:]
        (storage / "blobs/sha256" / lost[:2] / lost / "data").unlink()
        shutil.rmtree(storage / "repositories/mirror/app/_layers/sha256" / unlinked)
        shutil.rmtree(storage / "repositories/mirror/app/_manifests/revisions/sha256" / child)

        assert command.run("sync", *words).outcomes == {"unchanged": 1}
        command.workers = None
        assert command.run("verify", *words, code=1).outcomes == {"different": 1}
        command.workers = 1
        ran = command.run("sync", *words, "--force")
        assert ran.outcomes == {"copied": 1}
        assert (ran.image["blobs_moved"], ran.image["blobs_mounted"]) == (2, 0)
        command.workers = None
        assert command.run("verify", *words, "--deep").outcomes == {"equal": 1}
