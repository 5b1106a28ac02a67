"""Both storages keep the same promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import (
    ContentBuilder,
    DigestMismatch,
    DirectoryStorage,
    MemoryStorage,
    Storage,
    push_to,
)
from image_syncer.oci import Digest, digest_of
from support.digests import EMPTY_DIGEST

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 1000


@pytest.fixture(params=["memory", "directory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else DirectoryStorage(tmp_path / "root")


def put(storage: Storage, repository: str, data: bytes = DATA, algorithm: str = "sha256") -> Digest:
    digest = digest_of(data, algorithm)
    storage.put_blob(repository, [data[:1000], data[1000:]], digest)
    return digest


def read_all(storage: Storage, repository: str, digest: Digest, offset: int, limit: int) -> bytes:
    reader = storage.open_blob(repository, digest)
    assert reader is not None
    got = bytearray()
    while piece := reader.read(offset + len(got), limit):
        assert len(piece) <= limit
        got += piece
    reader.close()
    return bytes(got)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_is_what_was_put(storage: Storage, algorithm: str) -> None:
    digest = put(storage, "a/b", algorithm=algorithm)
    assert storage.blob_size("a/b", digest) == len(DATA)
    assert storage.read_blob("a/b", digest) == DATA
    assert storage.repositories() == ["a/b"]


@pytest.mark.parametrize("offset", [0, 1, 999, 1000, 1001, len(DATA) - 1, len(DATA), len(DATA) + 1])
@pytest.mark.parametrize("limit", [7_000, 1_000_000])
def test_a_reader_reads_from_anywhere(storage: Storage, offset: int, limit: int) -> None:
    digest = put(storage, "a")
    assert read_all(storage, "a", digest, offset, limit) == DATA[offset:]


def test_a_blob_without_bytes(storage: Storage) -> None:
    storage.put_blob("a", [b""], EMPTY_DIGEST)
    assert storage.blob_size("a", EMPTY_DIGEST) == 0
    assert read_all(storage, "a", EMPTY_DIGEST, 0, 10) == b""


def test_wrong_bytes_are_no_blob(storage: Storage) -> None:
    right, wrong = digest_of(DATA), digest_of(b"other")
    upload = storage.start_upload("a")
    upload.append([DATA])
    with pytest.raises(DigestMismatch, match=right):
        storage.commit_upload(upload, wrong)
    assert storage.upload(upload.id) is None
    assert storage.blob_size("a", wrong) is None
    assert storage.used_bytes == 0


def test_the_algorithm_may_turn_out_late(storage: Storage) -> None:
    upload = storage.start_upload("a")
    upload.append([DATA[:10]])
    upload.expect_algorithm("sha512")
    upload.append([DATA[10:]])
    assert upload.digest("sha256") == digest_of(DATA)
    storage.commit_upload(upload, digest_of(DATA, "sha512"))
    assert storage.read_blob("a", digest_of(DATA, "sha512")) == DATA


def test_many_small_pieces(storage: Storage) -> None:
    upload = storage.start_upload("a")
    pieces = [DATA[begin : begin + 100] for begin in range(0, len(DATA), 100)]
    upload.append(pieces)
    upload.append([b"", b""])
    storage.commit_upload(upload, digest_of(DATA))
    assert storage.read_blob("a", digest_of(DATA)) == DATA


def test_a_discarded_upload_is_forgotten(storage: Storage) -> None:
    upload = storage.start_upload("a")
    upload.append([DATA])
    storage.discard_upload(upload)
    storage.discard_upload(upload)
    assert storage.upload(upload.id) is None
    assert not storage.has_repository("a")


def test_a_mount_shares_the_content(storage: Storage) -> None:
    digest = put(storage, "a")
    assert storage.mount_blob("b", digest, "a")
    assert storage.mount_blob("c", digest, None)
    assert not storage.mount_blob("d", digest_of(b"other"), None)
    assert not storage.mount_blob("d", digest, "unknown")
    assert storage.used_bytes == len(DATA)
    assert not storage.has_repository("d")


def test_content_goes_with_the_last_repository_that_has_it(storage: Storage) -> None:
    digest = put(storage, "a")
    put(storage, "b")
    reader = storage.open_blob("a", digest)
    assert storage.delete_blob("a", digest)
    assert not storage.delete_blob("a", digest)
    assert storage.read_blob("a", digest) is None
    assert storage.read_blob("b", digest) == DATA
    assert storage.delete_blob("b", digest)
    assert storage.used_bytes == 0
    assert reader is not None
    assert bytes(reader.read(0, 100)) == DATA[:100]
    reader.close()


def test_manifests_and_tags(storage: Storage) -> None:
    content = ContentBuilder()
    first, second = content.image(), content.image()
    push_to(storage, "a", first, ["v2", "v1"])
    push_to(storage, "a", second, ["v10"])
    assert list(storage.tags("a")) == ["v1", "v10", "v2"]
    assert storage.tag("a", "v1") == first.digest
    manifest = storage.manifest("a", second.digest)
    assert manifest is not None
    assert (manifest.media_type, storage.read_manifest(manifest)) == (second.media_type, second.raw)
    push_to(storage, "a", second, ["v1"])
    assert storage.tag("a", "v1") == second.digest
    assert storage.delete_tag("a", "v1")
    assert not storage.delete_tag("a", "v1")
    assert storage.delete_manifest("a", second.digest)
    assert not storage.delete_manifest("a", second.digest)
    assert list(storage.tags("a")) == ["v2"]
    assert storage.names_blob("a", first.blobs[0].digest)
    assert not storage.names_blob("a", second.blobs[0].digest)


def test_referrers(storage: Storage) -> None:
    content = ContentBuilder()
    image = content.image()
    referrer = content.artifact("application/vnd.example", subject=image)
    push_to(storage, "a", image)
    push_to(storage, "a", referrer)
    [found] = storage.referrers("a", image.digest)
    assert (found.digest, found.artifact_type) == (referrer.digest, "application/vnd.example")
    assert found.annotations == {"org.opencontainers.image.created": "2024-01-01T00:00:00Z"}
    assert storage.referrers("b", image.digest) == []
    storage.delete_manifest("a", referrer.digest)
    assert storage.referrers("a", image.digest) == []


def test_nothing_of_an_unknown_repository(storage: Storage) -> None:
    digest = digest_of(DATA)
    assert storage.blob_size("a", digest) is None
    assert storage.open_blob("a", digest) is None
    assert storage.manifest("a", digest) is None
    assert storage.tag("a", "v1") is None
    assert list(storage.tags("a")) == []
    assert not storage.names_blob("a", digest)


def test_a_directory_is_there_again(tmp_path: Path) -> None:
    content = ContentBuilder()
    image = content.image()
    referrer = content.artifact(subject=image)
    storage = DirectoryStorage(tmp_path)
    push_to(storage, "library/a", image, ["v1"])
    push_to(storage, "library/a", referrer)
    push_to(storage, "library/a/nested", content.index(attestations=True), ["latest", "v1"])
    storage.delete_tag("library/a/nested", "v1")
    storage.create_repository("empty")
    storage.start_upload("library/a").append([b"unfinished"])
    again = DirectoryStorage(tmp_path)
    assert again.repositories() == ["empty", "library/a", "library/a/nested"]
    assert again.used_bytes == storage.used_bytes
    assert list(again.tags("library/a/nested")) == ["latest"]
    assert again.tag("library/a", "v1") == image.digest
    assert again.manifest("library/a", referrer.digest) == storage.manifest("library/a", referrer.digest)
    assert again.referrers("library/a", image.digest) == storage.referrers("library/a", image.digest)
    assert again.read_blob("library/a", image.blobs[0].digest) == image.blobs[0].read()
    assert again.delete_blob("library/a", image.blobs[0].digest)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_directory_shows_whole_blobs_only(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    upload = storage.start_upload("a")
    upload.append([DATA])
    assert list((tmp_path / "blobs").rglob("*")) == []
    storage.commit_upload(upload, digest_of(DATA))
    [path] = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert path.name == digest_of(DATA).hex
    assert path.read_bytes() == DATA
    assert list((tmp_path / "uploads").iterdir()) == []
