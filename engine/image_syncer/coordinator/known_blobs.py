"""Known blobs with a bound in memory, and the others in a temporary file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from image_syncer.scheduling import KnownBlobsInMemory
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from image_syncer.journal.known_blobs import KnownBlobsInFile
    from image_syncer.oci import Digest, Repository


_log = get_logger(__name__)


class BoundedKnownBlobs(KnownBlobsInMemory):
    """`KnownBlobs` of which `most_in_memory` are in memory, counted once for each repository, and the others in a file.

    The first ones stay in memory: what many images share comes early.
    """

    def __init__(self, most_in_memory: int) -> None:
        super().__init__()
        self.most = most_in_memory
        self._file: KnownBlobsInFile | None = None

    def knows(self, registry: str, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        return super().knows(registry, digest) or (self._file is not None and self._file.knows(registry, digest))

    def forget(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        super().forget(repository, digest)
        if self._file is not None:
            self._file.forget(repository, digest)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        return super().has(repository, digest) or (self._file is not None and self._file.has(repository, digest))

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """See `KnownBlobs`."""
        found = super().home(registry, digest, realm)
        return self._file.home(registry, digest, realm) if found is None and self._file is not None else found

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()

    def _further(self) -> KnownBlobsInFile | None:
        if self._file is not None:
            return self._file
        try:
            # Most runs never come here, and start without SQLite.
            from image_syncer.journal.known_blobs import KnownBlobsInFile
        except ImportError as error:  # a Python that was built without it
            _log.warning("the blob set stays in memory: this Python has no SQLite", reason=str(error))
            self.most = sys.maxsize
            return None
        _log.info("the blob set goes on in a temporary file", blobs_in_memory=self.most)
        self._file = KnownBlobsInFile()
        return self._file
