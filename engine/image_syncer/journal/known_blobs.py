"""KnownBlobs that go on where an earlier run stopped: what landed is written to the journal, and asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.journal.journal import Journal
    from image_syncer.oci import Digest, Repository
    from image_syncer.planning import KnownBlobs

__all__ = ["JournaledKnownBlobs"]


class JournaledKnownBlobs:
    """`KnownBlobs` over those of this run and the journal. What the journal is asked stays in its file: however much it
    knows, only what this run needs of it takes memory.
    """

    def __init__(self, known_blobs: KnownBlobs, journal: Journal) -> None:
        self._known_blobs = known_blobs
        self._journal = journal

    def knows(self, registry: str, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        return self._known_blobs.knows(registry, digest) or self._journal.home(registry, digest) is not None

    def note(self, registry: str, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._known_blobs.note(registry, digest)

    def add(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._known_blobs.add(repository, digest)
        self._journal.note_blob(repository, digest)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._known_blobs.forget(repository, digest)
        self._journal.forget_blob(repository, digest)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        if self._known_blobs.has(repository, digest):
            return True
        if not self._journal.has_blob(repository, digest):
            return False
        self._known_blobs.add(repository, digest)
        return True

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """See `KnownBlobs`."""
        return self._known_blobs.home(registry, digest, realm) or self._journal.home(registry, digest, realm)
