"""KnownBlobs with a bound: so many blobs in memory, and the others in a temporary file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from image_syncer.planning import KnownBlobsInMemory
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from image_syncer.coordinator.known_blobs_file import KnownBlobsInFile
    from image_syncer.oci import Digest, Repository

__all__ = ["BoundedKnownBlobs"]

_log = get_logger(__name__)


class BoundedKnownBlobs:
    """`KnownBlobs` of which `most_in_memory` are in memory: blobs, each counted once for every repository that has it.

    Those that came first stay there, since what many images share comes early; the file is opened for the first that
    has no room.
    """

    def __init__(self, most_in_memory: int) -> None:
        self._most = most_in_memory
        self._memory = KnownBlobsInMemory()
        self._file: KnownBlobsInFile | None = None

    def knows(self, registry: str, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        return self._memory.knows(registry, digest) or (self._file is not None and self._file.knows(registry, digest))

    def note(self, registry: str, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._place().note(registry, digest)

    def add(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._place().add(repository, digest)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._memory.forget(repository, digest)
        if self._file is not None:
            self._file.forget(repository, digest)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        return self._memory.has(repository, digest) or (self._file is not None and self._file.has(repository, digest))

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """See `KnownBlobs`."""
        found = self._memory.home(registry, digest, realm)
        return self._file.home(registry, digest, realm) if found is None and self._file is not None else found

    def close(self) -> None:
        """Give the room on the disk back; what was there is forgotten."""
        if self._file is not None:
            self._file.close()

    def _place(self) -> KnownBlobsInMemory | KnownBlobsInFile:
        """Where there is room for one more."""
        if len(self._memory) < self._most:
            return self._memory
        if self._file is None:
            self._file = self._open()
        return self._memory if self._file is None else self._file

    def _open(self) -> KnownBlobsInFile | None:
        try:
            # Most runs never come here, and start without SQLite.
            from image_syncer.coordinator.known_blobs_file import KnownBlobsInFile
        except ImportError as error:  # a Python that was built without it
            _log.warning("the blob set stays in memory: this Python has no SQLite", reason=str(error))
            self._most = sys.maxsize
            return None
        _log.info("the blob set goes on in a temporary file", blobs_in_memory=self._most)
        return KnownBlobsInFile()
