"""Content in files: constant memory for blobs of any size, and a registry that is there again after a
restart.

Layout below the root (names of repositories never begin with "_", so nothing collides):

    blobs/sha256/ab/<hex>                            content, complete and verified
    repositories/<name>/_repository                  the repository exists
    repositories/<name>/_blobs/<algorithm>-<hex>     it has the blob
    repositories/<name>/_manifests/<algorithm>-<hex> it has the manifest (JSON: media type, subject …)
    repositories/<name>/_tags/<tag>                  the digest the tag points at
    uploads/<id>                                     unfinished uploads, swept at the start

A file appears under its final name by rename only, so that a crash leaves nothing half-written.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.catalogue import StoredManifest
from image_syncer.embedded.catalogue_storage import CatalogueStorage
from image_syncer.embedded.file_content import FileReader, FileUpload
from image_syncer.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.embedded.upload import BlobReader, Upload

__all__ = ["DirectoryStorage"]


class DirectoryStorage(CatalogueStorage):
    """Keeps everything below `root`, which is made where it is missing. One storage at a time may use a
    root.
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

    def _new_upload(self, repository: str) -> Upload:
        return _NamedUpload(repository, self._uploads_path / uuid.uuid4().hex)

    def _drop_upload(self, upload: Upload) -> None:
        assert isinstance(upload, _NamedUpload)
        upload.close()
        upload.path.unlink(missing_ok=True)

    def _keep_upload(self, upload: Upload, digest: Digest) -> None:
        assert isinstance(upload, _NamedUpload)
        upload.close()
        self._move(upload.path, self._content_path(digest))

    def _open(self, digest: Digest) -> BlobReader:
        return FileReader(os.open(self._content_path(digest), os.O_RDONLY | os.O_CLOEXEC))

    def _read(self, digest: Digest) -> bytes:
        return self._content_path(digest).read_bytes()

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
        self._hold(digest)

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


def _manifest_to_data(manifest: StoredManifest) -> dict[str, Any]:
    return {
        "media_type": manifest.media_type,
        "size": manifest.size,
        "subject": manifest.subject,
        "artifact_type": manifest.artifact_type,
        "annotations": dict(manifest.annotations),
        "names": sorted(manifest.names),
    }


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


class _NamedUpload(FileUpload):
    def __init__(self, repository: str, path: Path) -> None:
        super().__init__(repository, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        self.path = path
