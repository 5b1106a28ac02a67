"""Verification against docker-registry, whose storage loses and spoils blobs behind its back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, push_over_http
from real.conftest import INSECURE
from support.docker_registry import serve_docker_registry

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = [pytest.mark.real, pytest.mark.extended]


def stored(registry: DockerRegistry, digest: str) -> Path:
    """Where the registry's storage has the bytes of a blob."""
    return registry.root / "docker/registry/v2/blobs/sha256" / digest[7:9] / digest[7:] / "data"


def test_a_blob_that_the_storage_lost_and_one_that_it_spoilt(
    command: Command, tmp_path: Path, source: DockerRegistry, content: ContentBuilder
) -> None:
    with serve_docker_registry(tmp_path / "destination") as destination:
        image, other = content.index(), content.image()
        push_over_http(source.url, "verify/app", image, ["v1"])
        push_over_http(source.url, "verify/other", other, ["v1"])
        auth = {registry.address: INSECURE for registry in (source, destination)}
        rules = {
            f"{source.address}/verify/{name}:v1": f"{destination.address}/mirror/{name}" for name in ("app", "other")
        }
        words = ("--auth", command.write("auth.yaml", auth), "--images", command.write("images.yaml", rules))
        command.run("sync", *words, "--verify")
        command.workers = None  # a verification has none
        assert command.run("verify", *words, "--deep").outcomes == {"equal": 2}
        lost, spoilt = image.children[0].blobs[1].digest, other.blobs[1].digest
        stored(destination, lost).unlink()
        path = stored(destination, spoilt)
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        ran = command.run("verify", *words, code=1)
        assert ran.outcomes == {"equal": 1, "different": 1}
        ran = command.run("verify", *words, "--deep", code=1)
        assert ran.outcomes == {"different": 2}
        found = {each["expected"]: each["found"] for one in ran.images for each in one["differences"]}
        assert found.keys() == {lost, spoilt}
        assert found[lost] == "nothing"
        assert found[spoilt].startswith("sha256:")
