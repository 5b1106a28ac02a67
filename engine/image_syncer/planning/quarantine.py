"""The quarantine: blobs with which workers die again and again. Nobody takes them any more in this run.

Which of its jobs brought a worker down cannot be seen. So a loss counts against every blob that it held, but for one
that had come further than ever before: whatever ended that worker, it was not what ends all of them at the same place.
A blob gets its last chance alone in a worker (`Job.alone`), so that only the guilty is given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import WorkerError
from image_syncer.planning.job import MOST_LOSSES

if TYPE_CHECKING:
    from image_syncer.errors import SyncError
    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.blob_set import Target

__all__ = ["MOST_DEATHS", "Quarantine"]

MOST_DEATHS = 10
"""Workers that may die with a blob in all, however far it came."""
_FURTHER = 8
"""A blob has come further when an eighth of it is new: where a machine kills all the time, the run goes on."""


class Quarantine:
    """Blobs by their source and digest, with the reason. Its length is their number."""

    def __init__(self) -> None:
        self._why: dict[tuple[Repository, Digest], str] = {}

    def __len__(self) -> int:
        return len(self._why)

    def find(self, source: Repository, digest: Digest) -> WorkerError | None:
        """The error of whoever needs this blob from there; None where it may be moved."""
        why = self._why.get((source, digest)) if self._why else None
        return None if why is None else _error(digest, why)

    def lost(self, target: Target, received: int, error: SyncError) -> WorkerError | None:
        """A worker is gone that held the blob, of which it had `received` so many bytes: the error with which it is
        given up, or None where it gets another chance.
        """
        target.deaths += 1
        if received - target.furthest >= max(target.size // _FURTHER, 1):
            target.furthest = received
        else:
            target.losses += 1
        if target.losses < MOST_LOSSES and target.deaths < MOST_DEATHS:
            return None
        why = f"{target.deaths} workers were lost while they held this blob; the last: {error.message}"
        self._why[target.source, target.digest] = why
        return _error(target.digest, why)


def _error(digest: Digest, why: str) -> WorkerError:
    return WorkerError(
        why,
        operation="copy blob",
        digest=str(digest),
        hint="No worker takes it again in this run. Run it with --debug and --log, and report what is logged.",
        retryable=False,
    )
