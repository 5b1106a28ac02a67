"""Archives of docker, podman and skopeo as a source; and those that are none, or not whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.errors import PlaceError
from image_syncer.layout.archives import DockerArchive, OciArchive
from image_syncer.layout.layout_server import open_storage
from image_syncer.oci import DOCKER_LAYER, DOCKER_LAYER_TAR, Digest, digest_of

if TYPE_CHECKING:
    from pathlib import Path


def layer(text: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue()


def config(*layers: bytes, **more: Any) -> bytes:
    diff_ids = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    value = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}
    return json.dumps(value).encode()


def write(path: Path, members: dict[str, bytes | str | None]) -> str:
    """A member is its bytes, or the target of a symbolic link, or (None) a directory."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return str(path)


def listing(*images: tuple[str, list[str] | None, list[str]]) -> bytes:
    keys = ("Config", "RepoTags", "Layers")
    return json.dumps([dict(zip(keys, image, strict=True)) for image in images]).encode()


ONE, TWO = layer("one"), layer("two")
CONFIG = config(ONE, TWO)
HEX = hashlib.sha256(CONFIG).hexdigest()

OLD = {  # docker before 25: directories of layers, one of which is there twice
    f"{HEX}.json": CONFIG,
    "aa": None,
    "aa/VERSION": b"1.0",
    "aa/json": b"{}",
    "aa/layer.tar": ONE,
    "bb/layer.tar": TWO,
    "cc/layer.tar": "../aa/layer.tar",
    "manifest.json": listing((f"{HEX}.json", ["app:1.0", "r.example:5000/app:x"], ["aa/layer.tar", "bb/layer.tar"])),
    "repositories": b"{}",
}
SKOPEO = {  # skopeo and podman: layers by their digest, legacy names as links
    "one.tar": ONE,
    "two.tar": TWO,
    "aa/layer.tar": "../one.tar",
    f"{HEX}.json": CONFIG,
    "manifest.json": listing((f"{HEX}.json", ["docker.io/library/app:1.0"], ["one.tar", "two.tar"])),
}
NEW = {  # docker from 25 on: a layout as well
    "blobs": None,
    **{f"blobs/sha256/{hashlib.sha256(each).hexdigest()}": each for each in (ONE, TWO, CONFIG)},
    "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    "index.json": b'{"schemaVersion":2,"manifests":[]}',
    "manifest.json": listing(
        (
            f"blobs/sha256/{HEX}",
            ["app:1.0"],
            [f"blobs/sha256/{hashlib.sha256(each).hexdigest()}" for each in (ONE, TWO)],
        )
    ),
}


def manifest_of(storage: DockerArchive, repository: str, tag: str) -> Any:
    digest = storage.tag(repository, tag)
    assert digest is not None
    found = storage.manifest(repository, digest)
    assert found is not None
    raw = storage.read_manifest(found)
    assert digest_of(raw) == digest
    return json.loads(raw)


@pytest.mark.parametrize(
    ("members", "repository"),
    [(OLD, "app"), (SKOPEO, "docker.io/library/app"), (NEW, "app")],
    ids=["old", "skopeo", "new"],
)
def test_every_form_has_the_same_content(
    tmp_path: Path, members: dict[str, bytes | str | None], repository: str
) -> None:
    storage = DockerArchive(write(tmp_path / "a.tar", members), "x")
    manifest = manifest_of(storage, repository, "1.0")
    assert manifest["config"]["digest"] == f"sha256:{HEX}"
    assert [each["mediaType"] for each in manifest["layers"]] == [DOCKER_LAYER_TAR, DOCKER_LAYER_TAR]
    for descriptor, content in zip((manifest["config"], *manifest["layers"]), (CONFIG, ONE, TWO), strict=True):
        digest = Digest(descriptor["digest"])
        assert storage.blob_size(repository, digest) == descriptor["size"] == len(content)
        assert storage.read_blob(repository, digest) == content


def test_names_are_those_that_are_written_there(tmp_path: Path) -> None:
    storage = DockerArchive(write(tmp_path / "a.tar", OLD), "x")
    assert storage.repositories() == ["app", "r.example:5000/app"]
    assert storage.tag("app", "1.0") == storage.tag("r.example:5000/app", "x")
    assert storage.is_name("r.example:5000/app")


def test_a_layer_that_is_there_twice_is_a_link_to_the_other(tmp_path: Path) -> None:
    raw = config(ONE, ONE)
    members = {**OLD, "c.json": raw, "manifest.json": listing(("c.json", ["app:1"], ["aa/layer.tar", "cc/layer.tar"]))}
    manifest = manifest_of(DockerArchive(write(tmp_path / "a.tar", members), "x"), "app", "1")
    assert manifest["layers"][0] == manifest["layers"][1]


def test_a_compressed_layer_has_the_digest_of_its_own_bytes(tmp_path: Path) -> None:
    packed = gzip.compress(TWO)
    members = {**SKOPEO, "two.tar": packed}
    storage = DockerArchive(write(tmp_path / "a.tar", members), "x")
    layers = manifest_of(storage, "docker.io/library/app", "1.0")["layers"]
    assert [each["mediaType"] for each in layers] == [DOCKER_LAYER_TAR, DOCKER_LAYER]
    assert layers[1] == {"mediaType": DOCKER_LAYER, "size": len(packed), "digest": digest_of(packed)}


def test_images_without_a_name_are_reached_by_digest(tmp_path: Path) -> None:
    other = config(TWO)
    members = {
        **OLD,
        "d.json": other,
        "manifest.json": listing(
            (f"{HEX}.json", None, ["aa/layer.tar", "bb/layer.tar"]), ("d.json", [], ["bb/layer.tar"])
        ),
    }
    storage = DockerArchive(write(tmp_path / "a.tar", members), "x")
    described = storage.described()
    assert (described["manifests"], described["names"], described["sole"]) == (2, [], None)


def test_one_image_alone_is_told(tmp_path: Path) -> None:
    described = DockerArchive(write(tmp_path / "a.tar", SKOPEO), "x").described()
    assert described["sole"]["repository"] == "docker.io/library/app"
    assert described["sole"]["tag"] == "1.0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"manifest.json": b"{}"}, "no list of images"),
        ({"manifest.json": b"[1]"}, "no list of images"),
        ({"manifest.json": b"not JSON"}, "no list of images"),
        ({"manifest.json": b'[{"Config": 5}]'}, "names no configuration"),
        ({"manifest.json": listing(("no.json", ["a:1"], []))}, "the archive has no no.json"),
        ({"manifest.json": listing(("../../etc/passwd", ["a:1"], []))}, "the archive has no ../../etc/passwd"),
        ({"manifest.json": listing((f"{HEX}.json", ["a:1"], ["aa/layer.tar", "/etc/passwd"]))}, "not there"),
        ({"manifest.json": listing((f"{HEX}.json", ["a:1"], ["aa/layer.tar"]))}, "2 layers, and manifest.json 1"),
        ({f"{HEX}.json": b"[]"}, "0 layers, and manifest.json 2"),
        ({f"{HEX}.json": b'{"rootfs":{"diff_ids":["sha256:1"]}}'}, "no configuration of an image"),
        ({f"{HEX}.json": b'{"rootfs":{"diff_ids":7}}'}, "no configuration of an image"),
        ({"aa/layer.tar": b"BZh91AY"}, "compressed with bzip2"),
        ({"cc/layer.tar": "../../../etc/passwd"}, "leads out of the archive"),
        ({"cc/layer.tar": "/etc/passwd"}, "leads out of the archive"),
        ({"../evil": b"x"}, "leads out of the archive"),
        ({"/etc/evil": b"x"}, "leads out of the archive"),
    ],
)
def test_what_is_made_to_do_harm_is_refused(tmp_path: Path, changes: dict[str, bytes | str], words: str) -> None:
    with pytest.raises(PlaceError) as caught:
        DockerArchive(write(tmp_path / "a.tar", {**OLD, **changes}), "x")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("place", "members", "words"),
    [
        ("docker-archive", {"repositories": b"{}"}, "docker before 1.10"),
        ("docker-archive", {"oci-layout": b"{}"}, "write oci-archive:"),
        ("docker-archive", {"x": b""}, "no archive of docker"),
        ("oci-archive", {"manifest.json": b"[]"}, "write docker-archive:"),
        ("oci-archive", {"x": b""}, "no image layout"),
        ("oci-archive", {"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}, "version that is not known: '2.0.0'"),
        ("oci-archive", {"oci-layout": b"[]"}, "version that is not known"),
        ("oci-archive", {"oci-layout": NEW["oci-layout"]}, "the archive has no index.json"),
        ("oci-archive", {"oci-layout": NEW["oci-layout"], "index.json": b"[]"}, "no image index"),
        ("oci-archive", {"oci-layout": NEW["oci-layout"], "index.json": b'{"manifests":[{}]}'}, "no image index"),
    ],
)
def test_the_other_kind_is_told(tmp_path: Path, place: str, members: dict[str, bytes | str | None], words: str) -> None:
    path = write(tmp_path / "a.tar", members)
    with pytest.raises(PlaceError) as caught:
        open_storage(f"{place}:{path}", writes=False, must_be_there=True)
    assert words in str(caught.value)


@pytest.mark.parametrize("opener", [DockerArchive, OciArchive])
def test_a_compressed_archive_is_refused_with_what_to_do(tmp_path: Path, opener: Any) -> None:
    plain = write(tmp_path / "a.tar", OLD)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    with pytest.raises(PlaceError, match=r"compressed with gzip(.|\n)*gzip -d"):
        opener(f"{plain}.gz", "x")


@pytest.mark.parametrize("opener", [DockerArchive, OciArchive])
def test_a_file_that_is_missing_or_none_is_refused(tmp_path: Path, opener: Any) -> None:
    with pytest.raises(PlaceError, match="No such file"):
        opener(str(tmp_path / "no.tar"), "x")
    with pytest.raises(PlaceError):
        opener(str(tmp_path), "x")
    half = tmp_path / "half.tar"
    half.write_bytes((tmp_path / write(tmp_path / "a.tar", NEW)).read_bytes()[:-12000])
    with pytest.raises(PlaceError):
        opener(str(half), "x")
