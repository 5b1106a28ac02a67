"""Uploads and readers: bytes on their way into a storage, and out of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, BinaryIO

from image_syncer.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["BlobReader", "DigestMismatch", "Upload"]


class DigestMismatch(Exception):  # noqa: N818 - an answer of the storage, not a fault of it
    """The bytes of an upload are not those that the digest names."""

    def __init__(self, expected: Digest, actual: Digest) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"expected {expected}, but the content is {actual}")


class BlobReader(ABC):
    """Content that is being read; survives the deletion of the blob."""

    size: int
    file: BinaryIO | None = None
    """A file that holds the content from `file_begin` on, for sendfile and for reading in a thread."""
    file_begin: int = 0

    @abstractmethod
    def read(self, offset: int, limit: int) -> bytes | memoryview:
        """At least one and at most `limit` bytes from `offset`; nothing at the end. Does not copy where it
        need not.
        """

    def close(self) -> None:  # noqa: B027 - only files have something to close
        """Give up what is held."""


class Upload(ABC):
    """The bytes of one upload session, hashed as they come.

    `append` and `digest` belong in a thread when the bytes are many; nothing else does.
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
        """One request at a time writes to an upload; held by the server, on its own event loop."""
        self._algorithm = "sha256"
        self._hash: Any = hashlib.new(self._algorithm)
        self._digest: Digest | None = None

    def expect_algorithm(self, algorithm: str) -> None:
        """Hash with `algorithm` from the start; ignored once bytes have come (the content is then read again
        at the end).
        """
        if self.offset == 0 and algorithm != self._algorithm:
            self._algorithm, self._hash = algorithm, hashlib.new(algorithm)

    def append(self, pieces: Sequence[bytes]) -> None:
        """Take `pieces` at the end. Raises OSError where they cannot be kept; the upload is then useless."""
        self._keep(pieces)
        for piece in pieces:
            self._hash.update(piece)
        self.offset += sum(map(len, pieces))
        self._digest = None

    def digest(self, algorithm: str) -> Digest:
        """The digest of all bytes so far."""
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
        """The bytes so far, in pieces."""

    @abstractmethod
    def _keep(self, pieces: Sequence[bytes]) -> None: ...
