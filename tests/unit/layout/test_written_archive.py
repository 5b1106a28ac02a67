"""Archives of layouts that are written: packed at the end, and never half."""

from __future__ import annotations

import errno
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, push_to
from image_syncer.errors import PlaceError
from image_syncer.layout.archives import OciArchive, WrittenArchive
from image_syncer.layout.tar_writer import TarWriter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def content() -> ContentBuilder:
    return ContentBuilder(11)


def write(path: Path, *images: tuple[str, Any, str], finishes: bool = True) -> None:
    storage = WrittenArchive(str(path), "x")
    for repository, image, tag in images:
        push_to(storage, repository, image, [tag])
    if finishes:
        storage.finish()
    storage.close()


def test_an_archive_is_packed_and_nothing_else_stays(tmp_path: Path, content: ContentBuilder) -> None:
    image = content.index()
    write(tmp_path / "a.tar", ("team/app", image, "1.0"))
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]
    storage = OciArchive(str(tmp_path / "a.tar"), "x")
    assert storage.tag("team/app", "1.0") == image.digest
    for manifest in image.manifests():
        found = storage.manifest("team/app", manifest.digest)
        assert found is not None
        assert storage.read_manifest(found) == manifest.raw
    for blob in image.all_blobs():
        assert storage.read_blob("team/app", blob.digest) == b"".join(blob.pieces())


def test_what_was_there_stays(tmp_path: Path, content: ContentBuilder) -> None:
    one, other = content.image(), content.image()
    path = tmp_path / "a.tar"
    write(path, ("", one, "1.0"))
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "x", filter="data")
    (tmp_path / "x/notes").write_text("mine")
    with tarfile.open(path, "w") as tar:
        for each in sorted((tmp_path / "x").rglob("*")):
            tar.add(each, each.relative_to(tmp_path / "x"), recursive=False)
    write(path, ("", other, "2.0"))
    storage = OciArchive(str(path), "x")
    assert storage.tags("") == ["1.0", "2.0"]
    for image in (one, other):
        assert all(storage.read_blob("", blob.digest) == b"".join(blob.pieces()) for blob in image.blobs)
    with tarfile.open(path) as tar:
        assert tar.extractfile("notes").read() == b"mine"  # type: ignore[union-attr]
        assert len(tar.getnames()) == len(set(tar.getnames()))


def test_nothing_new_leaves_the_file_alone(tmp_path: Path, content: ContentBuilder) -> None:
    image, path = content.image(), tmp_path / "a.tar"
    write(path, ("", image, "1.0"))
    before = path.stat().st_ino
    write(path)
    assert path.stat().st_ino == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]


def test_nothing_at_all_makes_no_archive(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    assert list(tmp_path.iterdir()) == []


def test_what_an_ended_run_brought_is_packed_by_the_next(tmp_path: Path, content: ContentBuilder) -> None:
    one, other, path = content.image(), content.image(), tmp_path / "a.tar"
    write(path, ("", one, "1.0"), finishes=False)
    assert not path.exists()
    storage = WrittenArchive(str(path), "x")
    assert storage.tag("", "1.0") == one.digest
    push_to(storage, "", other, ["2.0"])
    storage.finish()
    storage.close()
    assert OciArchive(str(path), "x").tags("") == ["1.0", "2.0"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]


def test_blobs_of_an_image_that_did_not_become_whole_wait_for_the_next_run(
    tmp_path: Path, content: ContentBuilder
) -> None:
    whole, half, path = content.image(), content.image(), tmp_path / "a.tar"
    storage = WrittenArchive(str(path), "x")
    push_to(storage, "", whole, ["1.0"])
    blob = half.blobs[0]
    storage.put_blob("", blob.pieces(), blob.digest)
    storage.finish()
    storage.close()
    assert OciArchive(str(path), "x").content_size(blob.digest) is None
    storage = WrittenArchive(str(path), "x")
    assert storage.blob_size("", blob.digest) == blob.size
    push_to(storage, "", half, ["2.0"])
    storage.finish()
    storage.close()
    assert OciArchive(str(path), "x").tags("") == ["1.0", "2.0"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("calls", [("append_file",), ("finish", "close")])  # "close" writes what is in its buffer
def test_no_room_leaves_the_former_archive_and_what_came(
    tmp_path: Path, content: ContentBuilder, monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...]
) -> None:
    one, other, path = content.image(), content.image(), tmp_path / "a.tar"
    write(path, ("", one, "1.0"))
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        for call in calls:
            patch.setattr(TarWriter, call, full)
        storage = WrittenArchive(str(path), "x")
        push_to(storage, "", other, ["2.0"])
        with pytest.raises(PlaceError, match=r"No space left on device(.|\n)*the next run continues"):
            storage.finish()
        storage.close()
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tar", "a.tar.unpacked"]
    write(path)
    assert OciArchive(str(path), "x").tags("") == ["1.0", "2.0"]
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]


def test_two_writers_of_one_archive_are_refused(tmp_path: Path) -> None:
    storage = WrittenArchive(str(tmp_path / "a.tar"), "x")
    with pytest.raises(PlaceError, match="another process writes"):
        WrittenArchive(str(tmp_path / "a.tar"), "x")
    storage.close()


def test_a_file_that_is_no_layout_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(json.dumps({}).encode() * 1000)
    with pytest.raises(PlaceError):
        WrittenArchive(str(tmp_path / "a.tar"), "x")
    with pytest.raises(PlaceError, match="there is no directory"):
        WrittenArchive(str(tmp_path / "no/a.tar"), "x")
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]
