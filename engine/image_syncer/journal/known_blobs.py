"""`KnownBlobs` in a temporary SQLite file, and `KnownBlobs` over a journal.

The file is SQLite's private database for an empty name (sqlite.org/inmemorydb.html, "Temporary Databases"): in
$SQLITE_TMPDIR, $TMPDIR or /var/tmp, with mode 600 and unlinked at once, so that nothing is left however the process
ends. No row is read again after a crash, so there is no rollback journal, nothing is flushed, and one transaction stays
open: a row takes a few microseconds.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from image_syncer.scheduling import Numbering
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.journal.journal import Journal
    from image_syncer.oci import Digest, Repository
    from image_syncer.scheduling import KnownBlobs


CACHE_KIB = 8 * 2**10
"""SQLite's cache of the file in memory."""
NOWHERE = 0
"""The repository of a blob that was noted without one; numbers begin at 1."""

_SET_UP = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -{CACHE_KIB};
CREATE TABLE held (
    digest BLOB, registry INTEGER, repository INTEGER, PRIMARY KEY (digest, registry, repository)
) WITHOUT ROWID;
BEGIN;
"""
_ADD = "INSERT OR IGNORE INTO held VALUES (?, ?, ?)"
_FORGET = "DELETE FROM held WHERE digest = ? AND registry = ? AND repository = ?"
_KNOWS = "SELECT 1 FROM held WHERE digest = ? AND registry = ? LIMIT 1"
_HAS = "SELECT 1 FROM held WHERE digest = ? AND registry = ? AND repository = ?"
_HOME = "SELECT repository FROM held WHERE digest = ? AND registry = ? AND repository > 0"

_log = get_logger(__name__)


class KnownBlobsInFile:
    """`KnownBlobs` on the disk, some 50 bytes each.

    Where the file cannot be used, on a full disk say, one warning is logged, and nothing is known any more.
    """

    def __init__(self) -> None:
        self._registries = Numbering()
        self._names = Numbering()
        self._database: sqlite3.Connection | None = None
        try:
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.executescript(_SET_UP)
        except sqlite3.Error as error:
            self._give_up(error)

    def knows(self, registry: str, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        return self._run(_KNOWS, digest.raw, self._registries[registry]) is not None

    def note(self, registry: str, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._run(_ADD, digest.raw, self._registries[registry], NOWHERE)

    def add(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        number = self._names[repository.name]
        self._run(_ADD, digest.raw, self._registries[repository.registry], number)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        number = self._names.get(repository.name)
        if number is not None:
            self._run(_FORGET, digest.raw, self._registries[repository.registry], number)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        number = self._names.get(repository.name)
        if number is None:
            return False
        return self._run(_HAS, digest.raw, self._registries[repository.registry], number) is not None

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """See `KnownBlobs`."""
        numbers = self._all(_HOME, digest.raw, self._registries[registry])
        texts = self._names.texts
        return next((texts[number] for number in numbers if texts[number].startswith(realm)), None)

    def close(self) -> None:
        """Free the room; nothing is known any more. May be called again."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _run(self, statement: str, *values: bytes | int) -> int | None:
        """Return the first column of the first row, if there is one."""
        return next(self._all(statement, *values), None)

    def _all(self, statement: str, *values: bytes | int) -> Iterator[int]:
        """Yield the first column of every row."""
        if self._database is None:
            return
        try:
            for row in self._database.execute(statement, values):
                yield int(row[0])
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: sqlite3.Error) -> None:
        self.close()
        _log.warning(
            "the temporary file of the blob set cannot be used: blobs may be sent again where they would be mounted",
            reason=str(error),
            hint="Give TMPDIR a folder with room, or raise --blobs-in-memory.",
        )


class JournaledKnownBlobs:
    """`KnownBlobs` of this run and of the journal, of which only what this run needs takes memory."""

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
