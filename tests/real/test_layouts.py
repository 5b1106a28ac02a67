"""Layouts and archives between us and skopeo: what one writes, the other reads, to the same digests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_over_http
from image_syncer.embedded.content import MadeBlob, build_manifest
from image_syncer.oci import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from support.programs import run_program
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Command, Ran
    from support.docker_registry import DockerRegistry

pytestmark = pytest.mark.real


def skopeo(*words: str) -> bytes:
    return run_program(("skopeo", *words))


class Ends:
    """The command, with the two registries taken for what they are."""

    def __init__(self, command: Command, source: DockerRegistry, destination: DockerRegistry, here: Path) -> None:
        self.command, self.source, self.destination, self.here = command, source, destination, here

    def copy(self, source: str, destination: str, *words: str) -> Ran:
        insecure = ("--insecure", self.source.address, "--insecure", self.destination.address)
        return self.command.run("copy", source, destination, *insecure, *words)

    def push(self, repository: str, image: MadeManifest, tag: str) -> str:
        push_over_http(self.source.url, repository, image, [tag])
        return f"{self.source.address}/{repository}:{tag}"


@pytest.fixture
def ends(command: Command, source: DockerRegistry, destination: DockerRegistry, tmp_path: Path) -> Ends:
    return Ends(command, source, destination, tmp_path)


def layer_of(text: str) -> tuple[bytes, bytes]:
    """A layer that is a tar archive with one file: as it is, and compressed."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo("etc/name")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue(), gzip.compress(raw.getvalue(), mtime=0)


def unpackable_image(*texts: str) -> tuple[MadeManifest, list[str]]:
    """An image whose layers can be unpacked, and their digests then: skopeo unpacks them for `docker save`'s format."""
    layers = [layer_of(text) for text in texts]
    diff_ids = [f"sha256:{hashlib.sha256(plain).hexdigest()}" for plain, _ in layers]
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {}}
    ).encode()
    blobs = [MadeBlob(OCI_LAYER_GZIP, len(packed), data=packed) for _, packed in layers]
    about = MadeBlob(OCI_CONFIG, len(config), data=config)
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": about.descriptor(),
        "layers": [blob.descriptor() for blob in blobs],
    }
    return build_manifest(value, (about, *blobs)), diff_ids


@pytest.mark.parametrize(("kind", "name"), [("oci", "dir"), ("oci-archive", "file.tar")])
def test_skopeo_reads_what_we_write(ends: Ends, repository: str, content: ContentBuilder, kind: str, name: str) -> None:
    image = content.index(attestations=True)
    place = f"{kind}:{ends.here}/{name}"
    assert ends.copy(ends.push(repository, image, "1.0"), f"{place}:1.0").outcomes == {"copied": 1}
    assert skopeo("inspect", "--raw", f"{place}:1.0") == image.raw
    target = f"{ends.destination.address}/{repository}:back"
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"{place}:1.0", f"docker://{target}")
    assert Skopeo().inspect_raw(target) == image.raw


@pytest.mark.extended
def test_skopeo_reads_names_with_a_repository(ends: Ends, repository: str, content: ContentBuilder) -> None:
    one, other = content.image(), content.index()
    place = f"oci:{ends.here}/many"
    ends.copy(ends.push(f"{repository}/one", one, "1.0"), f"{place}:team/one")
    ends.copy(ends.push(f"{repository}/two", other, "2.0"), f"{place}:team/two:x")
    assert skopeo("inspect", "--raw", f"{place}:team/one:1.0") == one.raw
    assert skopeo("inspect", "--raw", f"{place}:team/two:x") == other.raw


@pytest.mark.extended
@pytest.mark.parametrize(("kind", "name"), [("oci", "dir"), ("oci-archive", "file.tar")])
def test_we_read_what_skopeo_writes(ends: Ends, repository: str, content: ContentBuilder, kind: str, name: str) -> None:
    image = content.index()
    source = ends.push(repository, image, "1.0")
    place = f"{kind}:{ends.here}/{name}"
    skopeo("copy", "--all", "--preserve-digests", "--src-tls-verify=false", f"docker://{source}", f"{place}:mine")
    target = f"{ends.destination.address}/{repository}"
    assert ends.copy(f"{place}:mine", target).outcomes == {"copied": 1}
    assert Skopeo().inspect_raw(f"{target}:mine") == image.raw
    assert ends.copy(place, f"{target}:alone").outcomes == {"copied": 1}
    assert Skopeo().inspect_raw(f"{target}:alone") == image.raw


@pytest.mark.extended
def test_one_layout_is_written_by_both(ends: Ends, repository: str, content: ContentBuilder) -> None:
    ours, theirs = content.image(), content.image()
    place = f"oci:{ends.here}/dir"
    source = ends.push(repository, theirs, "theirs")
    skopeo("copy", "--src-tls-verify=false", f"docker://{source}", f"{place}:theirs")
    ends.copy(ends.push(repository, ours, "ours"), f"{place}:ours")
    skopeo("copy", "--src-tls-verify=false", f"docker://{source}", f"{place}:again")
    for name, image in (("theirs", theirs), ("ours", ours), ("again", theirs)):
        assert skopeo("inspect", "--raw", f"{place}:{name}") == image.raw
    target = f"{ends.destination.address}/{repository}"
    assert ends.copy(place, target, "--all-tags").outcomes == {"copied": 3}


@pytest.mark.extended
def test_a_docker_archive_of_skopeo_arrives_with_its_layers_as_they_lie_there(ends: Ends, repository: str) -> None:
    image, diff_ids = unpackable_image(f"one {repository}", f"two {repository}", f"one {repository}")
    source = ends.push(repository, image, "1.0")
    archive = f"docker-archive:{ends.here}/saved.tar"
    skopeo("copy", "--src-tls-verify=false", f"docker://{source}", f"{archive}:example.test/team/app:1.0")
    target = f"{ends.destination.address}/{repository}"
    assert ends.copy(archive, target).outcomes == {"copied": 1}
    manifest = json.loads(Skopeo().inspect_raw(f"{target}:1.0"))
    assert [layer["digest"] for layer in manifest["layers"]] == diff_ids
    # skopeo finds no image in Docker's form in a layout, and pulls one in the other form as it was saved.
    place = f"oci:{ends.here}/dir"
    assert ends.copy(f"{archive}:example.test/team/app:1.0", f"{place}:oci", "--format", "oci").outcomes == {
        "copied": 1
    }
    unpacked = ends.here / "unpacked"
    skopeo("copy", "--preserve-digests", f"{place}:oci", f"dir:{unpacked}")
    with tarfile.open(unpacked / diff_ids[0].partition(":")[2]) as tar:
        assert tar.extractfile("etc/name").read() == f"one {repository}".encode()  # type: ignore[union-attr]
