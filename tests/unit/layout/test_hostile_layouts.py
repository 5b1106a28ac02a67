"""Layouts made by somebody who means harm: nothing outside of them is read or written, and nobody waits."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, push_to
from image_syncer.errors import PlaceError
from image_syncer.layout.layout_storage import LayoutStorage
from image_syncer.layout.named_storage import IndexFile, Name
from image_syncer.oci import Digest, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import MadeManifest


@pytest.fixture
def image() -> MadeManifest:
    return ContentBuilder(13).image()


@pytest.fixture
def root(tmp_path: Path, image: MadeManifest) -> Path:
    storage = LayoutStorage(str(tmp_path / "layout"), writes=True)
    push_to(storage, "", image, ["1.0"])
    storage.close()
    return tmp_path / "layout"


def path_of(root: Path, digest: str) -> Path:
    return root / "blobs" / digest.replace(":", "/")


def test_a_blob_that_is_a_link_is_not_there(root: Path, tmp_path: Path, image: MadeManifest) -> None:
    digest = image.blobs[0].digest
    secret = tmp_path / "secret"
    secret.write_text("key")
    path_of(root, digest).unlink()
    path_of(root, digest).symlink_to(secret)
    storage = LayoutStorage(str(root), writes=False)
    assert storage.blob_size("", digest) is None
    assert storage.open_blob("", digest) is None
    assert storage.read_blob("", digest) is None


def test_a_link_is_replaced_and_not_written_through(root: Path, tmp_path: Path, image: MadeManifest) -> None:
    blob = image.blobs[0]
    secret = tmp_path / "secret"
    secret.write_text("key")
    path_of(root, blob.digest).unlink()
    path_of(root, blob.digest).symlink_to(secret)
    storage = LayoutStorage(str(root), writes=True)
    assert storage.tag("", "1.0") is None
    push_to(storage, "", image, ["1.0"])
    storage.close()
    assert secret.read_text() == "key"
    assert not path_of(root, blob.digest).is_symlink()


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
@pytest.mark.parametrize("writes", [True, False])
def test_a_directory_that_is_a_link_is_refused(root: Path, tmp_path: Path, name: str, *, writes: bool) -> None:
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlaceError, match="links are not followed"):
        LayoutStorage(str(root), writes=writes)


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_a_file_at_the_top_that_is_a_link_is_refused(root: Path, tmp_path: Path, name: str) -> None:
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlaceError, match="links are not followed"):
        LayoutStorage(str(root), writes=False)


def test_our_own_directory_as_a_link_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").touch()
    (root / ".image-syncer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlaceError):
        LayoutStorage(str(root), writes=True)
    assert [each.name for each in (tmp_path / "elsewhere").iterdir()] == ["precious"]


def test_a_pipe_in_the_place_of_a_blob_keeps_nobody_waiting(root: Path, image: MadeManifest) -> None:
    digest = image.blobs[0].digest
    path_of(root, digest).unlink()
    os.mkfifo(path_of(root, digest))
    storage = LayoutStorage(str(root), writes=False)
    assert storage.blob_size("", digest) is None
    assert storage.open_blob("", digest) is None


def test_a_pipe_in_the_place_of_the_index_keeps_nobody_waiting(root: Path) -> None:
    (root / "index.json").unlink()
    os.mkfifo(root / "index.json")
    with pytest.raises(PlaceError):
        LayoutStorage(str(root), writes=False)


def test_a_manifest_with_other_bytes_is_served_under_the_digest_that_names_it(root: Path, image: MadeManifest) -> None:
    """So that whoever reads it sees that it is not what it should be."""
    path_of(root, image.digest).write_bytes(image.raw + b" ")
    storage = LayoutStorage(str(root), writes=False)
    found = storage.manifest("", image.digest)
    assert found is not None
    assert found.digest == image.digest
    assert storage.read_manifest(found) == image.raw + b" "
    writer = LayoutStorage(str(root), writes=True)
    assert writer.tag("", "1.0") is None
    push_to(writer, "", image, ["1.0"])
    writer.close()
    assert path_of(root, image.digest).read_bytes() == image.raw


def test_a_manifest_of_gigabytes_is_not_read(root: Path, image: MadeManifest) -> None:
    os.truncate(path_of(root, image.digest), 2**33)
    storage = LayoutStorage(str(root), writes=False)
    assert storage.manifest("", image.digest) is None


def index_with(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def entry(content: bytes, name: str | None = None, **more: Any) -> dict[str, Any]:
    annotations = {} if name is None else {"org.opencontainers.image.ref.name": name}
    return {"mediaType": "x", "digest": digest_of(content), "size": 1, "annotations": annotations, **more}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"manifests": 5}',
        b'{"manifests": ["x"]}',
        b'{"manifests": [{"digest": "../../etc/passwd", "size": 1}]}',
        b'{"manifests": [{"digest": "sha256:/../x", "size": 1}]}',
        index_with(entry(b"1", size=-1)),
        index_with(entry(b"1", annotations={"a": 5})),
        index_with(entry(b"1", annotations=["a"])),
        b"[" * 100_000,
    ],
)
def test_an_index_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(PlaceError, match="no image index"):
        IndexFile(raw, "x")


def test_names_that_no_reference_can_have_are_passed_over() -> None:
    names = ("../../x:1", "/etc/passwd", "a b", "UP/x:1", "x:", ":x", "a" * 200, "a\n", "ok:1", "v1", "r.io:5000/a:1")
    index = IndexFile(index_with(*(entry(name.encode(), name) for name in names)), "x")
    assert set(map(str, index.names)) == {"ok:1", "v1", "r.io:5000/a:1"}
    assert len(index.descriptors) == len(names)


def test_a_name_for_several_manifests_is_listed_and_stands_for_none(root: Path) -> None:
    raw = index_with(entry(b"1", "1.0"), entry(b"2", "1.0"), entry(b"3", "2.0"), entry(b"3", "2.0"))
    (root / "index.json").write_bytes(raw)
    storage = LayoutStorage(str(root), writes=False)
    assert storage.tag("", "1.0") is None
    assert "means" in storage.lacks("", "1.0")
    assert storage.tags("") == ["1.0", "2.0"]


def test_a_whole_name_of_containerd_is_a_name_too() -> None:
    annotations = {"org.opencontainers.image.ref.name": "1.0", "io.containerd.image.name": "docker.io/library/x:1.0"}
    index = IndexFile(index_with(entry(b"1", annotations=annotations)), "x")
    assert set(index.names) == {Name("", "1.0"), Name("docker.io/library/x", "1.0")}
    assert index.drop_name(Name("", "1.0"))
    assert set(index.names) == {Name("docker.io/library/x", "1.0")}
    assert json.loads(index.to_bytes())["manifests"][0]["annotations"] == {
        "io.containerd.image.name": "docker.io/library/x:1.0"
    }


def test_indexes_that_name_each_other_end(root: Path) -> None:
    """No digest can be part of what it is the digest of, but bytes may say so."""
    one, other = (Digest(f"sha256:{letter * 64}") for letter in "ab")
    for digest, child in ((one, other), (other, one)):
        raw = index_with({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": child, "size": 1})
        path_of(root, digest).write_bytes(raw)
    (root / "index.json").write_bytes(index_with(entry(b"", digest=one, mediaType="")))
    storage = LayoutStorage(str(root), writes=True)
    assert storage.is_named(other)
    assert storage.referrers("", one) == []
    storage.close()
