"""A layout in a directory, as a storage: what is written is a layout, and what others wrote stays."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.embedded import ContentBuilder, DigestMismatch, push_to
from image_syncer.embedded.manifests import describe_manifest
from image_syncer.errors import PlaceError
from image_syncer.layout.layout_storage import LayoutStorage
from image_syncer.oci import Digest, digest_of, parse_manifest
from support.signed_images import signed_image

if TYPE_CHECKING:
    from pathlib import Path

NAME = "org.opencontainers.image.ref.name"


def index_of(root: Path) -> Any:
    return json.loads((root / "index.json").read_text())


def names_of(root: Path) -> dict[str | None, str]:
    return {entry.get("annotations", {}).get(NAME): entry["digest"] for entry in index_of(root)["manifests"]}


@pytest.fixture
def content() -> ContentBuilder:
    return ContentBuilder(7)


def write(root: Path, *images: tuple[str, Any, str]) -> None:
    storage = LayoutStorage(str(root), writes=True)
    for repository, image, tag in images:
        push_to(storage, repository, image, [tag])
    storage.close()


def test_what_is_written_is_a_layout(tmp_path: Path, content: ContentBuilder) -> None:
    root, image = tmp_path / "layout", content.image()
    write(root, ("", image, "1.0"))
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    entry = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.raw),
        "annotations": {NAME: "1.0"},
    }
    assert index_of(root)["manifests"] == [entry]
    for digest in (image.digest, *(blob.digest for blob in image.blobs)):
        algorithm, _, hexadecimal = digest.partition(":")
        assert digest_of((root / "blobs" / algorithm / hexadecimal).read_bytes()) == digest
    assert sorted(each.name for each in root.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_names_are_tags_alone_or_repository_and_tag(tmp_path: Path, content: ContentBuilder) -> None:
    one, other = content.image(), content.image()
    write(tmp_path, ("", one, "1.0"), ("library/app", other, "1.0"))
    assert names_of(tmp_path) == {"1.0": one.digest, "library/app:1.0": other.digest}
    storage = LayoutStorage(str(tmp_path), writes=False)
    assert storage.tags("") == ["1.0"]
    assert storage.tags("library/app") == ["1.0"]
    assert storage.repositories() == ["library/app"]
    assert storage.tag("library/app", "1.0") == other.digest


def test_a_name_that_moves_stands_for_the_new_manifest_alone(tmp_path: Path, content: ContentBuilder) -> None:
    one, other = content.image(), content.image()
    write(tmp_path, ("", one, "1.0"))
    write(tmp_path, ("", other, "1.0"))
    assert names_of(tmp_path) == {"1.0": other.digest}


def test_what_others_wrote_is_kept(tmp_path: Path, content: ContentBuilder) -> None:
    one, other = content.image(), content.image()
    write(tmp_path, ("", one, "1.0"))
    index = index_of(tmp_path)
    index["x"] = {"kept": True}
    index["manifests"][0]["x-field"] = [1]
    index["manifests"][0]["annotations"]["org.example"] = "mine"
    (tmp_path / "index.json").write_text(json.dumps(index))
    write(tmp_path, ("", other, "2.0"))
    assert index_of(tmp_path)["x"] == {"kept": True}
    assert index_of(tmp_path)["manifests"][0] == index["manifests"][0]


def test_children_stand_in_their_index_and_not_at_the_top(tmp_path: Path, content: ContentBuilder) -> None:
    image = content.index(attestations=True)
    write(tmp_path, ("", image, "1.0"))
    assert names_of(tmp_path) == {"1.0": image.digest}
    storage = LayoutStorage(str(tmp_path), writes=False)
    assert all(storage.manifest("", child.digest) is not None for child in image.manifests())


def test_what_came_under_its_digest_alone_is_entered_at_the_end(tmp_path: Path, content: ContentBuilder) -> None:
    storage = LayoutStorage(str(tmp_path), writes=True)
    image = content.image()
    push_to(storage, "", image)
    assert names_of(tmp_path) == {}
    storage.close()
    assert names_of(tmp_path) == {None: image.digest}


def test_referrers_are_found_at_the_top_and_in_indexes(tmp_path: Path, content: ContentBuilder) -> None:
    image = content.image()
    signature = content.artifact("application/vnd.example.signature", subject=image)
    inside = content.index([image, content.artifact(subject=image)])
    storage = LayoutStorage(str(tmp_path), writes=True)
    push_to(storage, "app", inside, ["1.0"])
    push_to(storage, "app", signature)
    storage.close()
    entries = index_of(tmp_path)["manifests"]
    assert [entry.get("artifactType") for entry in entries] == [None, "application/vnd.example.signature"]
    read = LayoutStorage(str(tmp_path), writes=False)
    found = {each.digest for each in read.referrers("app", Digest(image.digest))}
    assert found == {signature.digest, inside.children[1].digest}


def test_a_manifest_whose_blob_is_missing_is_not_there_for_who_writes(tmp_path: Path, content: ContentBuilder) -> None:
    image = content.index()
    write(tmp_path, ("", image, "1.0"))
    blob = next(iter(image.all_blobs()))
    (tmp_path / "blobs" / blob.digest.replace(":", "/")).unlink()
    storage = LayoutStorage(str(tmp_path), writes=True)
    assert storage.tag("", "1.0") is None
    push_to(storage, "", image, ["1.0"])
    assert storage.tag("", "1.0") == image.digest
    storage.close()
    assert LayoutStorage(str(tmp_path), writes=False).tag("", "1.0") == image.digest


def test_sha512_is_a_digest_like_the_other(tmp_path: Path, content: ContentBuilder) -> None:
    layer = content.layer(1000, algorithm="sha512")
    write(tmp_path, ("", content.image([layer]), "1.0"))
    assert (tmp_path / "blobs" / layer.digest.replace(":", "/")).read_bytes() == b"".join(layer.pieces())
    storage = LayoutStorage(str(tmp_path), writes=False)
    assert storage.blob_size("", Digest(layer.digest)) == 1000


def test_a_hundred_names_that_come_together_are_saved_together(
    tmp_path: Path, content: ContentBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each is on the disk when its `settle` returns."""
    storage = LayoutStorage(str(tmp_path), writes=True)
    saves = []
    replace_top = storage._files.replace_top
    monkeypatch.setattr(storage._files, "replace_top", lambda *words: (saves.append(words[0]), replace_top(*words)))
    image = content.image()
    push_to(storage, "", image)

    async def put(number: int) -> None:
        storage.put_manifest("", describe_manifest(parse_manifest(image.raw, None)), image.raw, f"v{number}")
        await storage.settle()
        assert f"v{number}" in names_of(tmp_path)

    async def put_all() -> None:
        await asyncio.gather(*map(put, range(100)))

    asyncio.run(put_all())
    assert len(saves) <= 2
    storage.close()
    assert len(names_of(tmp_path)) == 100


def test_one_process_at_a_time_writes(tmp_path: Path, content: ContentBuilder) -> None:
    storage = LayoutStorage(str(tmp_path), writes=True)
    with pytest.raises(PlaceError, match="another process writes"):
        LayoutStorage(str(tmp_path), writes=True)
    storage.close()
    write(tmp_path, ("", content.image(), "1.0"))


def test_what_an_ended_writer_left_is_swept(tmp_path: Path, content: ContentBuilder) -> None:
    write(tmp_path, ("", content.image(), "1.0"))
    left = tmp_path / ".image-syncer"
    left.mkdir()
    (left / "lock").touch()
    (left / "0123").write_bytes(b"half of a blob")
    write(tmp_path, ("", content.image(), "2.0"))
    assert not left.exists()


def test_wrong_bytes_do_not_become_a_blob(tmp_path: Path) -> None:
    storage = LayoutStorage(str(tmp_path), writes=True)
    with pytest.raises(DigestMismatch):
        storage.put_blob("", [b"other"], digest_of(b"bytes"))
    assert storage.blob_size("", digest_of(b"bytes")) is None
    assert [each.name for each in (tmp_path / ".image-syncer").iterdir()] == ["lock"]
    storage.close()


def test_what_another_program_enters_while_we_write_stays(tmp_path: Path, content: ContentBuilder) -> None:
    first, ours, theirs, moved = (content.image() for _ in range(4))
    write(tmp_path, ("", first, "1.0"), ("", first, "gone"))
    storage = LayoutStorage(str(tmp_path), writes=True)
    index = index_of(tmp_path)

    def entry(image: Any, name: str) -> dict[str, Any]:
        described = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.raw)}
        return {**described, "annotations": {NAME: name}}

    index["manifests"] = [entry(first, "gone"), entry(moved, "1.0"), entry(theirs, "theirs")]
    (tmp_path / "index.json").write_text(json.dumps(index))
    assert storage.delete_tag("", "gone")
    push_to(storage, "", ours, ["ours"])
    storage.close()
    assert names_of(tmp_path) == {"1.0": moved.digest, "ours": ours.digest, "theirs": theirs.digest}


def test_a_layout_whose_maker_was_killed_at_its_begin_is_gone_on_with(tmp_path: Path, content: ContentBuilder) -> None:
    LayoutStorage(str(tmp_path), writes=True).close()
    (tmp_path / "index.json").unlink()  # which is made last
    LayoutStorage(str(tmp_path), writes=True).close()
    assert index_of(tmp_path)["manifests"] == []
    assert (tmp_path / "oci-layout").stat().st_mtime_ns <= (tmp_path / "index.json").stat().st_mtime_ns
    write(tmp_path, ("", content.image(), "1.0"))


def test_a_signature_stays_for_another_repository_that_has_its_image(tmp_path: Path, content: ContentBuilder) -> None:
    signed = signed_image(content)
    write(tmp_path, ("a", signed.root, "1"), ("b", signed.root, "1"))
    storage = LayoutStorage(str(tmp_path), writes=True)
    about = (signed.signature, signed.sbom, signed.sbom_signature)  # the index, a child, and the SBOM
    for each in about:
        push_to(storage, "a", each, [])
    for each in (signed.root, *about):
        assert storage.delete_manifest("a", Digest(each.digest))
    storage.close()
    storage = LayoutStorage(str(tmp_path), writes=True)
    assert storage.tags("a") == []
    assert all(storage.manifest("b", Digest(each.digest)) is not None for each in (signed.root, *about))
    for each in (signed.root, *about):
        assert storage.delete_manifest("b", Digest(each.digest))
    storage.close()
    assert index_of(tmp_path)["manifests"] == []


def test_a_directory_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PlaceError, match=r"is no image layout, and has notes\.txt in it"):
        LayoutStorage(str(tmp_path), writes=True)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_what_is_only_read_takes_nothing(tmp_path: Path, content: ContentBuilder) -> None:
    write(tmp_path, ("", content.image(), "1.0"))
    before = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    storage = LayoutStorage(str(tmp_path), writes=False)
    with pytest.raises(PermissionError):
        push_to(storage, "", content.image(), ["2.0"])
    with pytest.raises(PermissionError):
        storage.delete_tag("", "1.0")
    storage.close()
    assert {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")} == before
