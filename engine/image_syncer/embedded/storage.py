"""What a storage of the embedded registry must do, with its uploads and readers.

A storage holds content by digest and, for each repository, its blobs, manifests and tags. Its methods are fast and run
on the event loop; `StorageUpload` hashes and writes many bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec import field

from image_syncer.embedded.route import is_repository_name
from image_syncer.oci import Digest
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_PIECE_BYTES = 2**20
_IOV_MAX = 1024  # buffers in one writev; POSIX guarantees 16, Linux and macOS have 1024


class StoredManifest(Value, frozen=True):
    """A manifest as pushed, with the fields of the referrers API."""

    digest: Digest
    media_type: str
    size: int
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[Digest] = frozenset()
    """Its blobs and children."""


class DigestMismatch(Exception):  # noqa: N818 - an answer of the storage, not a fault of it
    """The bytes of an upload have another digest than expected."""

    def __init__(self, expected: Digest, actual: Digest) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"expected {expected}, but the content is {actual}")


class BlobReader(ABC):
    """Open content; stays readable after the deletion of the blob."""

    size: int
    file: BinaryIO | None = None
    """The file with the content from `file_begin` on, for sendfile and for reading in a thread."""
    file_begin: int = 0

    @abstractmethod
    def read(self, offset: int, limit: int) -> bytes | memoryview:
        """Return at least one and at most `limit` bytes from `offset`, or nothing at the end; avoids copies."""

    def close(self) -> None:  # noqa: B027 - only files have something to close
        """Release the content."""


def read_all(reader: BlobReader) -> bytes:
    """Return all bytes of small content, and close the reader."""
    pieces, offset = [], 0
    try:
        while piece := reader.read(offset, reader.size - offset):
            pieces.append(bytes(piece))
            offset += len(piece)
    finally:
        reader.close()
    return b"".join(pieces)


def read_digest(reader: BlobReader, algorithm: str) -> Digest:
    """Return the digest of content, and close the reader."""
    running, offset = hashlib.new(algorithm), 0
    try:
        while piece := reader.read(offset, _PIECE_BYTES):
            running.update(piece)
            offset += len(piece)
    finally:
        reader.close()
    return Digest(f"{algorithm}:{running.hexdigest()}")


class StorageUpload(ABC):
    """The bytes of one upload session, hashed on arrival.

    With many bytes, `append` and `digest` belong in a thread; nothing else does.
    """

    def __init__(self, repository: str) -> None:
        self.repository = repository
        self.id = uuid.uuid4().hex
        self.touched_at = time.monotonic()
        self.offset = 0
        self.query = ""
        """The query of the newest Location, byte for byte."""
        self.last_chunk_bytes: int | None = None
        self.lock = asyncio.Lock()
        """Held by the server while a request writes, on its own event loop."""
        self._algorithm = "sha256"
        self._hash: Any = hashlib.new(self._algorithm)
        self._digest: Digest | None = None

    def expect_algorithm(self, algorithm: str) -> None:
        """Hash with `algorithm`; ignored after the first bytes (then the content is read again at the end)."""
        if self.offset == 0 and algorithm != self._algorithm:
            self._algorithm, self._hash = algorithm, hashlib.new(algorithm)

    def append(self, pieces: Sequence[bytes]) -> None:
        """Append `pieces`. Raises OSError if that fails; the upload cannot be used then."""
        self._keep(pieces)
        for piece in pieces:
            self._hash.update(piece)
        self.offset += sum(map(len, pieces))
        self._digest = None

    def digest(self, algorithm: str) -> Digest:
        """Return the digest of all bytes so far."""
        if self._digest is None or self._digest.algorithm != algorithm:
            running = self._hash if algorithm == self._algorithm else self._hash_again(algorithm)
            self._digest = Digest(f"{algorithm}:{running.hexdigest()}")
        return self._digest

    def _hash_again(self, algorithm: str) -> Any:
        again = hashlib.new(algorithm)
        for piece in self.kept():
            again.update(piece)
        return again

    @abstractmethod
    def kept(self) -> Iterable[bytes]:
        """Yield the bytes so far, in pieces."""

    @abstractmethod
    def _keep(self, pieces: Sequence[bytes]) -> None: ...


class Storage(ABC):
    """The content of a registry. A storage that is only read keeps the methods that raise `read_only`."""

    def __init__(self) -> None:
        self._uploads: dict[str, StorageUpload] = {}

    def read_only(self) -> Exception:
        """Return the exception for every change of a storage that is only read."""
        return PermissionError("the storage is read only")

    async def settle(self) -> None:  # noqa: B027 - as `close`
        """Wait until the changed manifests and names survive a crash. Raises OSError if they cannot be saved."""

    def finish(self) -> None:  # noqa: B027 - only archives and bundles are built at the end
        """Build the result of a complete run. Raises OSError if that fails."""

    def close(self) -> None:  # noqa: B027 - storages in memory have nothing to close
        """Save everything and release the storage. Raises OSError if that fails."""

    def described(self) -> Mapping[str, Any]:
        """Return a description for the parent process, as plain data."""
        return {}

    # Repositories

    def is_name(self, name: str) -> bool:
        """Return whether `name` is a valid repository name."""
        return is_repository_name(name)

    def lacks(self, repository: str, reference: str) -> str:  # noqa: ARG002 - other storages say more
        """Return the message for a missing manifest."""
        return "manifest unknown"

    @abstractmethod
    def repositories(self) -> list[str]:
        """Return the names of all repositories, sorted."""

    @abstractmethod
    def has_repository(self, name: str) -> bool:
        """Return whether the repository `name` exists."""

    @abstractmethod
    def create_repository(self, name: str) -> None:
        """Create the repository `name` if it does not exist."""

    @property
    @abstractmethod
    def used_bytes(self) -> int:
        """Bytes of distinct content, without unfinished uploads."""

    # Uploads

    def start_upload(self, repository: str) -> StorageUpload:
        """Open an upload session."""
        upload = self._new_upload(repository)
        self._uploads[upload.id] = upload
        return upload

    def upload(self, upload_id: str) -> StorageUpload | None:
        """Return the open session with this id."""
        return self._uploads.get(upload_id)

    def discard_upload(self, upload: StorageUpload) -> None:
        """End the session and drop its bytes."""
        if self._uploads.pop(upload.id, None) is not None:
            self._drop_upload(upload)

    def commit_upload(self, upload: StorageUpload, digest: Digest) -> None:  # noqa: ARG002
        """Make the bytes of the session a blob of its repository. On DigestMismatch, the session is discarded."""
        raise self.read_only()

    def put_blob(self, repository: str, pieces: Iterable[bytes], digest: Digest) -> None:
        """Store a blob without a server. Raises DigestMismatch."""
        upload = self.start_upload(repository)
        upload.expect_algorithm(digest.algorithm)
        for piece in pieces:
            upload.append((piece,))
        self.commit_upload(upload, digest)

    # Blobs

    @abstractmethod
    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Return the size in bytes of a blob of the repository, or None."""

    @abstractmethod
    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:
        """Return a reader of a blob of the repository, or None."""

    def read_blob(self, repository: str, digest: Digest) -> bytes | None:
        """Return all bytes of a small blob of the repository, or None."""
        reader = self.open_blob(repository, digest)
        return None if reader is None else read_all(reader)

    @abstractmethod
    def mount_blob(self, repository: str, digest: Digest, from_repository: str | None) -> bool:
        """Add a blob of `from_repository` (None: of any) to `repository`; False if it does not exist."""

    @abstractmethod
    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Delete a blob from the repository; the last deletion drops its content."""

    # Manifests and tags

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:  # noqa: ARG002
        """Store a manifest, and let `tag` point at it. The caller checks that `raw` matches `manifest`."""
        raise self.read_only()

    @abstractmethod
    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:
        """Return a manifest of the repository, or None."""

    @abstractmethod
    def read_manifest(self, manifest: StoredManifest) -> bytes:
        """Return the bytes of a manifest, as pushed."""

    def delete_manifest(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002
        """Delete a manifest and its tags from the repository; False if it does not exist."""
        raise self.read_only()

    @abstractmethod
    def tag(self, repository: str, name: str) -> Digest | None:
        """Return the digest of a tag, or None."""

    @abstractmethod
    def tags(self, repository: str) -> Sequence[str]:
        """Return all tags of the repository, sorted."""

    def delete_tag(self, repository: str, name: str) -> bool:  # noqa: ARG002
        """Delete a tag from the repository, not its manifest; False if it does not exist."""
        raise self.read_only()

    @abstractmethod
    def referrers(self, repository: str, subject: Digest) -> list[StoredManifest]:
        """Return the manifests of the repository with this subject, in the order of their arrival."""

    @abstractmethod
    def names_blob(self, repository: str, digest: Digest) -> bool:
        """Return whether a manifest of the repository names the blob."""

    def _new_upload(self, repository: str) -> StorageUpload:  # noqa: ARG002
        raise self.read_only()

    def _drop_upload(self, upload: StorageUpload) -> None:  # noqa: ARG002
        raise self.read_only()


class FileUpload(StorageUpload):
    """Bytes in the open file `descriptor`, which this closes; `name` is its path, or its name in a known directory.

    With `sync_every`, that many bytes at a time are synced (fdatasync(2)), so that the last sync is short.
    """

    def __init__(self, repository: str, descriptor: int, name: str, sync_every: int | None = None) -> None:
        super().__init__(repository)
        self.name = name
        self._fd = descriptor
        self._sync_every = sync_every
        self._unsynced = 0

    def kept(self) -> Iterable[bytes]:
        """Yield the bytes so far, in pieces."""
        offset = 0
        while piece := os.pread(self._fd, _PIECE_BYTES, offset):
            yield piece
            offset += len(piece)

    def sync(self) -> None:
        """Write all bytes to the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _keep(self, pieces: Sequence[bytes]) -> None:
        views = [memoryview(piece) for piece in pieces if piece]
        self._unsynced += sum(map(len, views))
        while views:
            written = os.writev(self._fd, views[:_IOV_MAX])
            while written:
                taken = min(written, len(views[0]))
                written -= taken
                views[0] = views[0][taken:]
                if not views[0]:
                    del views[0]
        if self._sync_every is not None and self._unsynced >= self._sync_every:
            self._unsynced = 0
            os.fdatasync(self._fd)

    def __del__(self) -> None:
        self.close()


class FileReader(BlobReader):
    """Reads `size` bytes (None: all) from `begin` of the open file `descriptor`, which this closes."""

    file: BinaryIO

    def __init__(self, descriptor: int, begin: int = 0, size: int | None = None) -> None:
        self.file = os.fdopen(descriptor, "rb", buffering=0)
        self.file_begin = begin
        self.size = os.fstat(descriptor).st_size - begin if size is None else size

    def read(self, offset: int, limit: int) -> bytes | memoryview:
        """Return at most `limit` bytes from `offset`."""
        limit = max(0, min(limit, self.size - offset))
        return os.pread(self.file.fileno(), limit, self.file_begin + offset)

    def close(self) -> None:
        """Close the file."""
        self.file.close()
