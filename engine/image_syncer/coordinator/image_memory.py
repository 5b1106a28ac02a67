"""What the journal knows of one image under way, and is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.oci import is_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.journal.journal import Journal
    from image_syncer.journal.records import DoneImage
    from image_syncer.oci import PlatformFilter, Reference
    from image_syncer.telemetry import ImageResult

__all__ = ["ImageMemory"]


class ImageMemory:
    """One image in the journal, with the platforms that are `wanted` of it.

    An image that was done stays `recalled` until it is looked at again. What the journal says otherwise of its
    destinations is dropped, and the drop is on the disk before one of them changes (`settled`).
    """

    def __init__(
        self, journal: Journal, source: Reference, destinations: list[Reference], wanted: PlatformFilter
    ) -> None:
        self._journal = journal
        self._source = source
        self._wanted = "" if wanted.is_empty else repr(wanted)
        self._names = {destination: destination for destination in destinations}
        """Under which name a destination is in the journal: one without a tag may be renamed by a filter."""
        self._revoked = False
        self.recalled: dict[Reference, DoneImage] = {}
        for destination in destinations:
            done = journal.recall(destination)
            if done is None or is_place(destination.repository.registry):  # asking there is cheap; files get removed
                continue
            if (done.source, done.wanted) == (str(source), self._wanted):
                self.recalled[destination] = done
            else:
                self.revoke(destination)

    def revoke(self, destination: Reference) -> None:
        """What the journal says of `destination` does not hold any more."""
        self.recalled.pop(destination, None)
        self._journal.revoke(self._names[destination])
        self._revoked = True

    def rename(self, renamed: Mapping[Reference, Reference]) -> None:
        """Destinations without a tag go under other references from now on."""
        for former, destination in renamed.items():
            self._names[destination] = self._names.pop(former)

    async def settled(self) -> None:
        """Returns when nothing that was revoked can be read again."""
        if self._revoked:
            await self._journal.flush()

    def note(self, destination: Reference, result: ImageResult) -> None:
        """`destination` has ended."""
        if result.outcome.is_as_wanted and destination not in self.recalled:
            self._journal.note_done(self._source, self._names[destination], self._wanted, result)
