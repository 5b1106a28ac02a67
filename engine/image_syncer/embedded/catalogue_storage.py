"""Storages of test registries: a catalogue of repositories, with its content in memory or in files.

The catalogue (names and digests, some hundred bytes each) is in memory; `DirectoryStorage` also keeps it in files.
"""

from __future__ import annotations

import os
import uuid
from abc import abstractmethod
from bisect import bisect_right, insort
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from image_syncer.embedded.storage import (
    BlobReader,
    DigestMismatch,
    FileReader,
    FileUpload,
    Storage,
    StorageUpload,
    StoredManifest,
    read_all,
)
from image_syncer.oci import Digest
from image_syncer.values import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_SMALL_PIECE_BYTES = 16 * 1024  # pieces that are smaller on average are joined: each costs an object and a write


class CatalogueEntry:
    """The blobs, manifests, tags and referrers of one repository."""

    def __init__(self) -> None:
        self.blobs: set[Digest] = set()
        self.manifests: dict[Digest, StoredManifest] = {}
        self.tags: dict[str, Digest] = {}
        self.tag_names: list[str] = []
        """The tags in lexical order, for listings."""
        self.referrers: dict[Digest, dict[Digest, StoredManifest]] = {}
        """The manifests by subject and digest."""

    def add_manifest(self, manifest: StoredManifest) -> None:
        """Add `manifest`."""
        self.manifests[manifest.digest] = manifest
        if manifest.subject is not None:
            self.referrers.setdefault(manifest.subject, {})[manifest.digest] = manifest

    def remove_manifest(self, digest: Digest) -> None:
        """Remove a manifest."""
        manifest = self.manifests.pop(digest)
        if manifest.subject is not None:
            del self.referrers[manifest.subject][digest]

    def set_tag(self, tag: str, digest: Digest) -> None:
        """Let `tag` point at the manifest `digest`."""
        if tag not in self.tags:
            insort(self.tag_names, tag)
        self.tags[tag] = digest

    def remove_tag(self, tag: str) -> None:
        """Remove `tag`."""
        del self.tags[tag]
        self.tag_names.remove(tag)


_NO_REPOSITORY = CatalogueEntry()


class CatalogueStorage(Storage):
    """The catalogue of repositories; a child class keeps the content, and may record the catalogue."""

    def __init__(self) -> None:
        super().__init__()
        self._repositories: dict[str, CatalogueEntry] = {}
        self._sizes: dict[Digest, int] = {}
        self._holders: Counter[Digest] = Counter()
        self._used_bytes = 0

    # Repositories

    def repositories(self) -> list[str]:
        """Return the names of all repositories, sorted."""
        return sorted(self._repositories)

    def has_repository(self, name: str) -> bool:
        """Return whether the repository `name` exists."""
        return name in self._repositories

    def create_repository(self, name: str) -> None:
        """Create the repository `name` if it does not exist."""
        self._repository(name)

    @property
    def used_bytes(self) -> int:
        """Bytes of distinct content, without unfinished uploads."""
        return self._used_bytes

    # Uploads

    def commit_upload(self, upload: StorageUpload, digest: Digest) -> None:
        """Make the bytes of the session a blob of its repository. On DigestMismatch, the session is discarded."""
        actual = upload.digest(digest.algorithm)
        if actual != digest:
            self.discard_upload(upload)
            raise DigestMismatch(digest, actual)
        self._uploads.pop(upload.id, None)
        if digest in self._sizes:
            self._drop_upload(upload)
        else:
            self._keep_upload(upload, digest)
            self._add_size(digest, upload.offset)
        self._link_blob(upload.repository, digest)

    # Blobs

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Return the size in bytes of a blob of the repository, or None."""
        return self._sizes[digest] if digest in self._repositories.get(repository, _NO_REPOSITORY).blobs else None

    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:
        """Return a reader of a blob of the repository, or None."""
        return None if self.blob_size(repository, digest) is None else self._open(digest)

    def mount_blob(self, repository: str, digest: Digest, from_repository: str | None) -> bool:
        """Add a blob of `from_repository` (None: of any) to `repository`; False if it does not exist."""
        holders = self._repositories if from_repository is None else (from_repository,)
        if not any(self.blob_size(name, digest) is not None for name in holders):
            return False
        self._link_blob(repository, digest)
        return True

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Delete a blob from the repository; the last deletion drops its content."""
        if self.blob_size(repository, digest) is None:
            return False
        self._repositories[repository].blobs.discard(digest)
        self._forget(repository, "blobs", digest)
        self._release(digest)
        return True

    # Manifests and tags

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:
        """Store a manifest, and let `tag` point at it. The caller checks that `raw` matches `manifest`."""
        found = self._repository(repository)
        if manifest.digest not in found.manifests:
            if manifest.digest not in self._sizes:
                self._write(manifest.digest, raw)
                self._add_size(manifest.digest, len(raw))
            self._holders[manifest.digest] += 1
        found.add_manifest(manifest)
        self._record(repository, "manifests", manifest.digest, manifest)
        if tag is not None:
            found.set_tag(tag, manifest.digest)
            self._record(repository, "tags", tag, manifest.digest)

    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:
        """Return a manifest of the repository, or None."""
        return self._repositories.get(repository, _NO_REPOSITORY).manifests.get(digest)

    def read_manifest(self, manifest: StoredManifest) -> bytes:
        """Return the bytes of a manifest, as pushed."""
        return self._read(manifest.digest)

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Delete a manifest and its tags from the repository; False if it does not exist."""
        manifest = self.manifest(repository, digest)
        if manifest is None:
            return False
        found = self._repositories[repository]
        for tag in [name for name, target in found.tags.items() if target == digest]:
            self.delete_tag(repository, tag)
        found.remove_manifest(digest)
        self._forget(repository, "manifests", digest)
        self._release(digest)
        return True

    def tag(self, repository: str, name: str) -> Digest | None:
        """Return the digest of a tag, or None."""
        return self._repositories.get(repository, _NO_REPOSITORY).tags.get(name)

    def tags(self, repository: str) -> Sequence[str]:
        """Return all tags of the repository, sorted."""
        return self._repositories.get(repository, _NO_REPOSITORY).tag_names

    def delete_tag(self, repository: str, name: str) -> bool:
        """Delete a tag from the repository, not its manifest; False if it does not exist."""
        if self.tag(repository, name) is None:
            return False
        self._repositories[repository].remove_tag(name)
        self._forget(repository, "tags", name)
        return True

    def referrers(self, repository: str, subject: Digest) -> list[StoredManifest]:
        """Return the manifests of the repository with this subject, in the order of their arrival."""
        found = self._repositories.get(repository, _NO_REPOSITORY)
        return list(found.referrers.get(subject, {}).values())

    def names_blob(self, repository: str, digest: Digest) -> bool:
        """Return whether a manifest of the repository names the blob."""
        found = self._repositories.get(repository, _NO_REPOSITORY)
        return any(digest in manifest.names for manifest in found.manifests.values())

    def _repository(self, name: str) -> CatalogueEntry:
        found = self._repositories.get(name)
        if found is None:
            found = self._repositories[name] = CatalogueEntry()
            self._record_repository(name)
        return found

    def _link_blob(self, repository: str, digest: Digest) -> None:
        found = self._repository(repository)
        if digest not in found.blobs:
            found.blobs.add(digest)
            self._holders[digest] += 1
            self._record(repository, "blobs", digest, "")

    def _add_size(self, digest: Digest, size_bytes: int) -> None:
        self._sizes[digest] = size_bytes
        self._used_bytes += size_bytes

    def _release(self, digest: Digest) -> None:
        self._holders[digest] -= 1
        if self._holders[digest] == 0:
            del self._holders[digest]
            self._used_bytes -= self._sizes.pop(digest)
            self._drop(digest)

    # The content

    @abstractmethod
    def _open(self, digest: Digest) -> BlobReader: ...

    def _read(self, digest: Digest) -> bytes:
        return read_all(self._open(digest))

    def _keep_upload(self, upload: StorageUpload, digest: Digest) -> None:  # noqa: ARG002
        raise self.read_only()

    def _write(self, digest: Digest, raw: bytes) -> None:  # noqa: ARG002
        raise self.read_only()

    def _drop(self, digest: Digest) -> None:  # noqa: ARG002
        raise self.read_only()

    # The records of the catalogue, for storages that outlive the process

    def _record_repository(self, name: str) -> None:
        """Record a new repository."""

    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:
        """Record an item of a repository: `noun` is "blobs", "manifests" or "tags"."""

    def _forget(self, repository: str, noun: str, name: str) -> None:
        """Delete the record of an item of a repository."""


class MemoryStorage(CatalogueStorage):
    """Keeps everything in memory, in the pieces in which it arrived, without copies."""

    def __init__(self) -> None:
        super().__init__()
        self._content: dict[Digest, _Pieces] = {}

    def _new_upload(self, repository: str) -> StorageUpload:
        return _MemoryUpload(repository)

    def _drop_upload(self, upload: StorageUpload) -> None:
        assert isinstance(upload, _MemoryUpload)
        upload.pieces = _Pieces()

    def _keep_upload(self, upload: StorageUpload, digest: Digest) -> None:
        assert isinstance(upload, _MemoryUpload)
        self._content[digest] = upload.pieces

    def _open(self, digest: Digest) -> BlobReader:
        return _MemoryReader(self._content[digest])

    def _write(self, digest: Digest, raw: bytes) -> None:
        pieces = _Pieces()
        pieces.add((raw,))
        self._content[digest] = pieces

    def _drop(self, digest: Digest) -> None:
        del self._content[digest]


class _Pieces:
    """Bytes in pieces; `ends[i]` is the offset of the end of piece i."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[int] = []
        self.size = 0

    def add(self, pieces: Sequence[bytes]) -> None:
        if len(pieces) > 1 and sum(map(len, pieces)) < _SMALL_PIECE_BYTES * len(pieces):
            pieces = (b"".join(pieces),)
        for piece in pieces:
            if piece:
                self.pieces.append(piece)
                self.size += len(piece)
                self.ends.append(self.size)


class _MemoryUpload(StorageUpload):
    def __init__(self, repository: str) -> None:
        super().__init__(repository)
        self.pieces = _Pieces()

    def kept(self) -> Iterable[bytes]:
        return self.pieces.pieces

    def _keep(self, pieces: Sequence[bytes]) -> None:
        self.pieces.add(pieces)


class _MemoryReader(BlobReader):
    def __init__(self, content: _Pieces) -> None:
        self.size = content.size
        self._content = content

    def read(self, offset: int, limit: int) -> bytes | memoryview:
        index = bisect_right(self._content.ends, offset)
        if index == len(self._content.pieces):
            return b""
        piece = self._content.pieces[index]
        begin = offset - (self._content.ends[index] - len(piece))
        if begin == 0 and len(piece) <= limit:
            return piece
        return memoryview(piece)[begin : begin + limit]


class DirectoryStorage(CatalogueStorage):
    """Keeps everything below `root`, in constant memory for blobs of any size. One storage at a time may use a root.

    Layout below the root (names of repositories never begin with "_", so nothing collides):

        blobs/sha256/ab/<hex>                            content, complete and verified
        repositories/<name>/_repository                  the repository exists
        repositories/<name>/_blobs/<algorithm>-<hex>     it has the blob
        repositories/<name>/_manifests/<algorithm>-<hex> it has the manifest (JSON: media type, subject …)
        repositories/<name>/_tags/<tag>                  the digest of the tag
        uploads/<id>                                     unfinished uploads, deleted at the start

    A file gets its final name by rename only, so a crash leaves no incomplete file.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        super().__init__()
        self.root = Path(root)
        self._uploads_path = self.root / "uploads"
        self._repositories_path = self.root / "repositories"
        for path in (self._uploads_path, self._repositories_path, self.root / "blobs"):
            path.mkdir(parents=True, exist_ok=True)
        for left_over in self._uploads_path.iterdir():
            left_over.unlink()
        self._load()

    # Content

    def _content_path(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex

    def _new_upload(self, repository: str) -> StorageUpload:
        path = self._uploads_path / uuid.uuid4().hex
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        return FileUpload(repository, descriptor, str(path))

    def _drop_upload(self, upload: StorageUpload) -> None:
        assert isinstance(upload, FileUpload)
        upload.close()
        Path(upload.name).unlink(missing_ok=True)

    def _keep_upload(self, upload: StorageUpload, digest: Digest) -> None:
        assert isinstance(upload, FileUpload)
        upload.close()
        self._move(Path(upload.name), self._content_path(digest))

    def _open(self, digest: Digest) -> BlobReader:
        return FileReader(os.open(self._content_path(digest), os.O_RDONLY | os.O_CLOEXEC))

    def _write(self, digest: Digest, raw: bytes) -> None:
        self._write_file(self._content_path(digest), raw)

    def _drop(self, digest: Digest) -> None:
        self._content_path(digest).unlink()

    # Records

    def _record_repository(self, name: str) -> None:
        marker = self._repositories_path / name / "_repository"
        if not marker.exists():
            self._write_file(marker, b"")

    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:
        data = value.encode() if isinstance(value, str) else orjson.dumps(_manifest_to_data(value))
        self._write_file(self._record_path(repository, noun, name), data)

    def _forget(self, repository: str, noun: str, name: str) -> None:
        self._record_path(repository, noun, name).unlink(missing_ok=True)

    def _record_path(self, repository: str, noun: str, name: str) -> Path:
        return self._repositories_path / repository / f"_{noun}" / name.replace(":", "-")

    def _load(self) -> None:
        for marker in sorted(self._repositories_path.rglob("_repository")):
            name = marker.parent.relative_to(self._repositories_path).as_posix()
            found = self._repository(name)
            for path in _files(marker.parent / "_blobs"):
                digest = Digest(path.name.replace("-", ":"))
                found.blobs.add(digest)
                self._load_content(digest)
            for path in _files(marker.parent / "_manifests"):
                manifest = _parse_manifest_record(path.name, path.read_bytes())
                found.add_manifest(manifest)
                self._load_content(manifest.digest)
            for path in _files(marker.parent / "_tags"):
                found.set_tag(path.name, Digest(path.read_text()))

    def _load_content(self, digest: Digest) -> None:
        if digest not in self._sizes:
            self._add_size(digest, self._content_path(digest).stat().st_size)
        self._holders[digest] += 1

    # Files

    def _write_file(self, path: Path, data: bytes) -> None:
        temporary = self._uploads_path / uuid.uuid4().hex
        temporary.write_bytes(data)
        self._move(temporary, path)

    @staticmethod
    def _move(path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _files(directory: Path) -> Iterator[Path]:
    return iter(sorted(directory.iterdir())) if directory.is_dir() else iter(())


def _manifest_to_data(manifest: StoredManifest) -> dict[str, object]:
    data = {**as_dict(manifest), "annotations": dict(manifest.annotations), "names": sorted(manifest.names)}
    del data["digest"]  # the name of the record
    return data


def _parse_manifest_record(name: str, raw: bytes) -> StoredManifest:
    data = orjson.loads(raw)
    return StoredManifest(
        digest=Digest(name.replace("-", ":")),
        media_type=data["media_type"],
        size=data["size"],
        subject=Digest(data["subject"]) if data["subject"] else None,
        artifact_type=data["artifact_type"],
        annotations=data["annotations"],
        names=frozenset(map(Digest, data["names"])),
    )
