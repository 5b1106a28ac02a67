"""The part that the storages of test registries share: the catalogue of repositories.

For each repository, which blobs and manifests it has and where its tags point. The catalogue lives in memory in either
case (names and digests, some hundred bytes each); `MemoryStorage` keeps the content there too, `DirectoryStorage` keeps
content and catalogue in files.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from image_syncer.embedded.catalogue import CatalogueEntry
from image_syncer.embedded.storage import Storage
from image_syncer.embedded.upload import DigestMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.embedded.catalogue import StoredManifest
    from image_syncer.embedded.upload import BlobReader, Upload
    from image_syncer.oci import Digest

__all__ = ["CatalogueStorage"]


class CatalogueStorage(Storage):
    """The catalogue of repositories over content that a child class keeps."""

    def __init__(self) -> None:
        super().__init__()
        self._repositories: dict[str, CatalogueEntry] = {}
        self._sizes: dict[Digest, int] = {}
        self._holders: dict[Digest, int] = {}
        self._used_bytes = 0

    # Repositories

    def repositories(self) -> list[str]:
        """The names of all repositories, sorted."""
        return sorted(self._repositories)

    def has_repository(self, name: str) -> bool:
        """Whether somebody created `name`, by hand or by a push."""
        return name in self._repositories

    def create_repository(self, name: str) -> None:
        """Create `name`; nothing happens where it exists."""
        self._repository(name)

    @property
    def used_bytes(self) -> int:
        """Bytes of distinct content, unfinished uploads not counted."""
        return self._used_bytes

    # Uploads

    def commit_upload(self, upload: Upload, digest: Digest) -> None:
        """Make the bytes of the session a blob of its repository. Raises DigestMismatch, and discards the
        session then.
        """
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
        """The size in bytes of a blob of the repository, None where it has no such blob."""
        found = self._repositories.get(repository)
        return self._sizes[digest] if found is not None and digest in found.blobs else None

    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:
        """A reader of a blob of the repository."""
        return None if self.blob_size(repository, digest) is None else self._open(digest)

    def read_blob(self, repository: str, digest: Digest) -> bytes | None:
        """All bytes of a blob of the repository; for small ones."""
        return None if self.blob_size(repository, digest) is None else self._read(digest)

    def mount_blob(self, repository: str, digest: Digest, from_repository: str | None) -> bool:
        """Make a blob of `from_repository` (None: of any) one of `repository` too; False where there is
        none.
        """
        holders = self._repositories if from_repository is None else (from_repository,)
        if not any(self.blob_size(name, digest) is not None for name in holders):
            return False
        self._link_blob(repository, digest)
        return True

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob from the repository; its content goes with the last repository that has it."""
        if self.blob_size(repository, digest) is None:
            return False
        self._repositories[repository].blobs.discard(digest)
        self._forget(repository, "blobs", digest)
        self._release(digest)
        return True

    # Manifests and tags

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:
        """Keep a manifest, and let `tag` point at it. Whether `raw` fits `manifest` is for the caller to
        know.
        """
        found = self._repository(repository)
        if manifest.digest not in found.manifests:
            if manifest.digest not in self._sizes:
                self._write(manifest.digest, raw)
                self._add_size(manifest.digest, len(raw))
            self._hold(manifest.digest)
        found.add_manifest(manifest)
        self._record(repository, "manifests", manifest.digest, manifest)
        if tag is not None:
            found.set_tag(tag, manifest.digest)
            self._record(repository, "tags", tag, manifest.digest)

    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:
        """A manifest of the repository."""
        found = self._repositories.get(repository)
        return found.manifests.get(digest) if found is not None else None

    def read_manifest(self, manifest: StoredManifest) -> bytes:
        """The bytes of a manifest, as they were pushed."""
        return self._read(manifest.digest)

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Take a manifest and the tags that point at it from the repository."""
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
        """Where a tag points."""
        found = self._repositories.get(repository)
        return found.tags.get(name) if found is not None else None

    def tags(self, repository: str) -> Sequence[str]:
        """All tags of the repository, sorted."""
        found = self._repositories.get(repository)
        return found.tag_names if found is not None else ()

    def delete_tag(self, repository: str, name: str) -> bool:
        """Take a tag from the repository; the manifest stays."""
        if self.tag(repository, name) is None:
            return False
        self._repositories[repository].remove_tag(name)
        self._forget(repository, "tags", name)
        return True

    def referrers(self, repository: str, subject: Digest) -> list[StoredManifest]:
        """The manifests of the repository whose subject is `subject`, in the order in which they came."""
        found = self._repositories.get(repository)
        return list(found.referrers.get(subject, {}).values()) if found is not None else []

    def names_blob(self, repository: str, digest: Digest) -> bool:
        """Whether a manifest of the repository names the blob."""
        found = self._repositories.get(repository)
        return found is not None and any(digest in manifest.names for manifest in found.manifests.values())

    # What the child classes and this one share

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
            self._hold(digest)
            self._record(repository, "blobs", digest, "")

    def _add_size(self, digest: Digest, size_bytes: int) -> None:
        self._sizes[digest] = size_bytes
        self._used_bytes += size_bytes

    def _hold(self, digest: Digest) -> None:
        self._holders[digest] = self._holders.get(digest, 0) + 1

    def _release(self, digest: Digest) -> None:
        self._holders[digest] -= 1
        if self._holders[digest] == 0:
            del self._holders[digest]
            self._used_bytes -= self._sizes.pop(digest)
            self._drop(digest)

    # Content: what a child class must do

    @abstractmethod
    def _keep_upload(self, upload: Upload, digest: Digest) -> None: ...

    @abstractmethod
    def _open(self, digest: Digest) -> BlobReader: ...

    @abstractmethod
    def _read(self, digest: Digest) -> bytes: ...

    @abstractmethod
    def _write(self, digest: Digest, raw: bytes) -> None: ...

    @abstractmethod
    def _drop(self, digest: Digest) -> None: ...

    # The catalogue's records: what a child class must do that outlives the process

    @abstractmethod
    def _record_repository(self, name: str) -> None:
        """`name` came into being."""

    @abstractmethod
    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:
        """The repository has a thing: `noun` is "blobs", "manifests" or "tags", `value` what is known of it."""

    @abstractmethod
    def _forget(self, repository: str, noun: str, name: str) -> None:
        """The repository has the thing no longer."""
