"""What a run remembers of registries. With a journal it goes on from what earlier runs knew, and is kept for later
ones; without, it ends with the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.coordinator.quirks import Quirks
from image_syncer.coordinator.sessions import UploadSessions

if TYPE_CHECKING:
    from image_syncer.config import Settings
    from image_syncer.coordinator.journal import Journal
    from image_syncer.planning import KnownBlobs

__all__ = ["RunMemory"]

CHILDREN_IN_MEMORY = 100_000
"""Manifests that indexes name, of those that were put: some 13 MB."""


class RunMemory:
    """Opens the journal that `settings` name, and raises as `journal_of` does. What is in memory of blobs is bounded;
    the rest goes to temporary files.
    """

    def __init__(self, settings: Settings) -> None:
        self.journal = journal = _journal_of(settings)
        self.blobs = BoundedKnownBlobs(settings.blobs_in_memory)
        """Those of this run."""
        self.children = BoundedKnownBlobs(min(settings.blobs_in_memory, CHILDREN_IN_MEMORY))
        """Manifests that indexes name and that were put."""
        self.known_blobs: KnownBlobs = self.blobs
        """Blobs that are at destinations, as far as anybody knows."""
        self.sessions, self.quirks = UploadSessions(), Quirks()
        if journal is not None:
            from image_syncer.coordinator.journal_known_blobs import JournaledKnownBlobs

            self.known_blobs = JournaledKnownBlobs(self.blobs, journal)
            self.sessions = UploadSessions(journal.sessions(), journal.note_session)
            self.quirks = Quirks(journal.quirks(), journal.note_quirk)


def _journal_of(settings: Settings) -> Journal | None:
    if settings.state_path is None:
        return None
    from image_syncer.coordinator.journal_opening import journal_of

    return journal_of(settings)
