"""What a storage must do.

A storage holds content by digest and, for each repository, which blobs and manifests it has and where its tags point.
Methods are quick and are called from the event loop; hashing and writing of many bytes happens in `Upload`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from image_syncer.embedded.route import is_repository_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from image_syncer.embedded.catalogue import StoredManifest
    from image_syncer.embedded.upload import BlobReader, Upload
    from image_syncer.oci import Digest

__all__ = ["Storage"]


class Storage(ABC):
    """Where a registry keeps things."""

    def __init__(self) -> None:
        self._uploads: dict[str, Upload] = {}

    async def settle(self) -> None:  # noqa: B027 - as `close`
        """Returns when the manifests and names that were put in, or taken out, will be so after a crash. Raises OSError
        where that cannot be.
        """

    def finish(self) -> None:  # noqa: B027 - only what is made of all that was put in has something to finish
        """All is put in that will be. Raises OSError where what is made of it cannot be made."""

    def close(self) -> None:  # noqa: B027 - only what outlives the process has something to close
        """What was put in is safe afterwards; nothing is asked of the storage any more. Raises OSError where that
        cannot be.
        """

    def described(self) -> Mapping[str, Any]:
        """What whoever started the process should know of it, as plain data."""
        return {}

    # Repositories

    def is_name(self, name: str) -> bool:
        """Whether a repository can have that name."""
        return is_repository_name(name)

    def lacks(self, repository: str, reference: str) -> str:  # noqa: ARG002 - a storage of names may say more
        """Why there is no manifest under a reference, as a sentence."""
        return "manifest unknown"

    @abstractmethod
    def repositories(self) -> list[str]:
        """The names of all repositories, sorted."""

    @abstractmethod
    def has_repository(self, name: str) -> bool:
        """Whether somebody created `name`, by hand or by a push."""

    @abstractmethod
    def create_repository(self, name: str) -> None:
        """Create `name`; nothing happens where it exists."""

    @property
    @abstractmethod
    def used_bytes(self) -> int:
        """Bytes of distinct content, unfinished uploads not counted."""

    # Uploads

    def start_upload(self, repository: str) -> Upload:
        """A new upload session."""
        upload = self._new_upload(repository)
        self._uploads[upload.id] = upload
        return upload

    def upload(self, upload_id: str) -> Upload | None:
        """The session of that id, if it is still open."""
        return self._uploads.get(upload_id)

    def discard_upload(self, upload: Upload) -> None:
        """End the session and forget its bytes."""
        if self._uploads.pop(upload.id, None) is not None:
            self._drop_upload(upload)

    @abstractmethod
    def commit_upload(self, upload: Upload, digest: Digest) -> None:
        """Make the bytes of the session a blob of its repository. Raises DigestMismatch, and discards the
        session then.
        """

    def put_blob(self, repository: str, pieces: Iterable[bytes], digest: Digest) -> None:
        """Put a blob without a server in between. Raises DigestMismatch."""
        upload = self.start_upload(repository)
        upload.expect_algorithm(digest.algorithm)
        for piece in pieces:
            upload.append((piece,))
        self.commit_upload(upload, digest)

    # Blobs

    @abstractmethod
    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """The size in bytes of a blob of the repository, None where it has no such blob."""

    @abstractmethod
    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:
        """A reader of a blob of the repository."""

    @abstractmethod
    def read_blob(self, repository: str, digest: Digest) -> bytes | None:
        """All bytes of a blob of the repository; for small ones."""

    @abstractmethod
    def mount_blob(self, repository: str, digest: Digest, from_repository: str | None) -> bool:
        """Make a blob of `from_repository` (None: of any) one of `repository` too; False where there is
        none.
        """

    @abstractmethod
    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob from the repository; its content goes with the last repository that has it."""

    # Manifests and tags

    @abstractmethod
    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:
        """Keep a manifest, and let `tag` point at it. Whether `raw` fits `manifest` is for the caller to
        know.
        """

    @abstractmethod
    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:
        """A manifest of the repository."""

    @abstractmethod
    def read_manifest(self, manifest: StoredManifest) -> bytes:
        """The bytes of a manifest, as they were pushed."""

    @abstractmethod
    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Take a manifest and the tags that point at it from the repository."""

    @abstractmethod
    def tag(self, repository: str, name: str) -> Digest | None:
        """Where a tag points."""

    @abstractmethod
    def tags(self, repository: str) -> Sequence[str]:
        """All tags of the repository, sorted."""

    @abstractmethod
    def delete_tag(self, repository: str, name: str) -> bool:
        """Take a tag from the repository; the manifest stays."""

    @abstractmethod
    def referrers(self, repository: str, subject: Digest) -> list[StoredManifest]:
        """The manifests of the repository whose subject is `subject`, in the order in which they came."""

    @abstractmethod
    def names_blob(self, repository: str, digest: Digest) -> bool:
        """Whether a manifest of the repository names the blob."""

    # What a child class must do for uploads

    @abstractmethod
    def _new_upload(self, repository: str) -> Upload: ...

    @abstractmethod
    def _drop_upload(self, upload: Upload) -> None: ...
