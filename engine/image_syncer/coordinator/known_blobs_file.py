"""KnownBlobs in a temporary file, which SQLite keeps.

The file is the private database that SQLite makes for an empty name (sqlite.org/inmemorydb.html, "Temporary
Databases"): in $SQLITE_TMPDIR, $TMPDIR or /var/tmp, open to its owner only (mode 600), and without a name from the
moment it is made, so that nothing of it is left however the process ends. It holds digests, and numbers in place of
names.

No row is read again after a crash. So there is no journal, nothing is flushed, and one transaction stays open for all
rows: each takes a few microseconds when it comes, and the loop never waits for a batch.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from image_syncer.planning import Numbering
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.oci import Digest, Repository

__all__ = ["KnownBlobsInFile"]

CACHE_KIB = 8 * 2**10
"""What SQLite keeps of the file in memory."""
NOWHERE = 0
"""Stands for the repository of a blob that was noted; numbers begin at 1."""

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
    """`KnownBlobs` on the disk, some 50 bytes each. Where the file cannot be written or read, because the disk is full
    say, one warning tells, and everything is forgotten from then on.
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
        return self._run(_KNOWS, digest.raw, self._registries.number(registry)) is not None

    def note(self, registry: str, digest: Digest) -> None:
        """See `KnownBlobs`."""
        self._run(_ADD, digest.raw, self._registries.number(registry), NOWHERE)

    def add(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        number = self._names.number(repository.name)
        self._run(_ADD, digest.raw, self._registries.number(repository.registry), number)

    def forget(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        number = self._names.find(repository.name)
        if number is not None:
            self._run(_FORGET, digest.raw, self._registries.number(repository.registry), number)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        number = self._names.find(repository.name)
        if number is None:
            return False
        return self._run(_HAS, digest.raw, self._registries.number(repository.registry), number) is not None

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """See `KnownBlobs`."""
        numbers = self._all(_HOME, digest.raw, self._registries.number(registry))
        return next((name for number in numbers if (name := self._names.text(number)).startswith(realm)), None)

    def close(self) -> None:
        """Give the room back; nothing is known any more. May be called again."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _run(self, statement: str, *values: bytes | int) -> int | None:
        """The first column of the first row, if there is one."""
        return next(self._all(statement, *values), None)

    def _all(self, statement: str, *values: bytes | int) -> Iterator[int]:
        """The first column of every row."""
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
