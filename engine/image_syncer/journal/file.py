"""The file of a journal: an SQLite database in WAL mode, with a checksum of our own in every record.

SQLite and no log of our own, because a journal is asked as often as it is written: for one image among millions, in
bounded memory, by `status` while a run writes. A log would have to be read whole at every start, kept in memory, and
rewritten from time to time, which is where one's own formats lose data. What SQLite gives: a batch is there wholly or
not at all, whatever is killed or torn (each frame of the WAL has a checksum; what follows the first wrong one does not
count), and readers never wait for the writer (sqlite.org/wal.html). What it does not give is a checksum of the pages
once they have left the WAL: so every record has one, over its table, key and body. Damage to the tree around the
records can hide some, which then are asked for or moved again; it cannot make up a right one.

`synchronous` is FULL: a batch that is committed has been fsynced. The file is made with mode 600, and so are those that
SQLite puts beside it (`-wal`, `-shm`): digests and addresses of registries are in it, and the addresses of upload
sessions, and no password or token.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.errors import JournalError
from image_syncer.journal.records import NEW_JOURNAL, TABLES, Change, JournalReadError, checksum, split_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from image_syncer.oci import Digest

__all__ = ["FORMAT", "JournalFile", "make_file"]

FORMAT = 1
"""Of the tables and bodies. Another number is another format, and is not read."""
APPLICATION_ID = 0x696D7379
"""In SQLite's header: this database is a journal of ours ("imsy")."""
WAIT_S = 10.0
"""For a lock of SQLite, which nobody holds for longer than a checkpoint takes."""
CACHE_KIB = 4 * 2**10

_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""SQLite's. Its message repeats damaged names as they are, and Python may be unable to read it."""

_GET = "SELECT body, sum FROM {} WHERE key = ?"
_ALL = "SELECT key, body, sum FROM {} WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_LAST = b"\xff"
"""No name has this byte: what begins with a prefix comes before it."""
_COUNT = "SELECT count(*) FROM {}"
_PUT = "INSERT OR REPLACE INTO {} VALUES (?, ?, ?)"
_DROP = "DELETE FROM {} WHERE key = ?"
_DROP_ALL = "DELETE FROM {}"
_RECORDS = "CREATE TABLE {} (key BLOB PRIMARY KEY, body BLOB, sum INTEGER) WITHOUT ROWID"
_SCHEMA = (
    *(_RECORDS.format(name) for name in TABLES),
    "CREATE TABLE repository (number INTEGER PRIMARY KEY, name BLOB, sum INTEGER)",
    "CREATE TABLE blob (digest BLOB, repository INTEGER, sum INTEGER, PRIMARY KEY (digest, repository)) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)


class JournalFile:
    """One connection to a journal. Whoever writes has one of its own, in a thread of its own.

    `damaged` counts the records that were read and dropped because their checksum was wrong. What cannot be opened is a
    JournalError; reading raises JournalReadError, writing sqlite3.Error.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        """With `read_only`, nothing is made or changed, and what others write is seen."""
        self.path = path
        self.damaged = 0
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        try:
            self._database = _connect_read_only(path) if read_only else _connect(path)
        except (*_ERRORS, OSError) as error:
            raise _unusable(path, error) from None

    def prepare(self, first: Change) -> bool:
        """Make the tables, with a first record, where the file is new; whether it was. Raises JournalError where it is
        no journal of this format.
        """
        try:
            if not self.is_new():
                self.check_format()
                return False
            self._database.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                for statement in _SCHEMA:
                    self._database.execute(statement)
                self._write(first)
        except _ERRORS as error:
            raise _unusable(self.path, error) from None
        return True

    def is_new(self) -> bool:
        """Whether nothing is in it: nobody has written to it, or the first who did was killed before its first batch.
        Raises JournalReadError.
        """
        return not self._read("SELECT 1 FROM sqlite_master LIMIT 1")

    def check_format(self) -> None:
        """Raises JournalError where it is no journal of this format."""
        try:
            application = self._number("PRAGMA application_id")
            version = self._number("PRAGMA user_version")
        except _ERRORS as error:
            raise _unusable(self.path, error) from None
        if application != APPLICATION_ID:
            raise JournalError(f"{self.path} is a database, and not a journal of image-syncer", hint=_OTHER_NAME)
        if version != FORMAT:
            raise JournalError(
                f"the journal {self.path} has format {version}, and this release reads format {FORMAT}",
                hint=f"Go on with the release that wrote it. {NEW_JOURNAL}",
            )

    def load_names(self) -> None:
        """Read which repositories the blobs are in, some 200 bytes for each. Raises JournalReadError."""
        self._numbers, self._names = {}, {}
        for number, name, told in self._read("SELECT number, name, sum FROM repository"):
            if not isinstance(name, bytes) or told != checksum("repository", name) or not name.isascii():
                self.damaged += 1
                continue
            self._numbers[name.decode()] = number
            self._names[number] = name.decode()

    def get(self, table: str, key: bytes) -> bytes | None:
        """The body of a record; None where there is none, or none that is right."""
        for body, told in self._read(_GET.format(table), key):
            if isinstance(body, bytes) and told == checksum(table, key, body):
                return body
            self.damaged += 1
        return None

    def records(self, table: str, prefix: bytes = b"", limit: int = -1) -> list[tuple[bytes, bytes]]:
        """(key, body) of the right records whose keys begin with `prefix`, in the order of the keys; of the first
        `limit` of them.
        """
        rows = self._read(_ALL.format(table), prefix, prefix + _LAST, limit)
        found = []
        for key, body, told in rows:
            if isinstance(key, bytes) and isinstance(body, bytes) and told == checksum(table, key, body):
                found.append((key, body))
            else:
                self.damaged += 1
        return found

    def count(self, table: str) -> int:
        """How many records a table has, right or not."""
        [(count,)] = self._read(_COUNT.format(table))
        return int(count)

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Whether the blob was verified in `repository`."""
        number = self._numbers.get(repository)
        if number is None:
            return False
        rows = self._read("SELECT sum FROM blob WHERE digest = ? AND repository = ?", digest.raw, number)
        return any(self._is_right(repository, digest, told) for (told,) in rows)

    def homes(self, digest: Digest) -> list[str]:
        """The repositories in which the blob was verified."""
        rows = self._read("SELECT repository, sum FROM blob WHERE digest = ?", digest.raw)
        named = [(self._names.get(number), told) for number, told in rows]
        return [name for name, told in named if name is not None and self._is_right(name, digest, told)]

    def write(self, changes: Iterable[Change]) -> None:
        """Write all of it, or nothing, and have it on the disk."""
        with self._transaction():
            for change in changes:
                self._write(change)

    def close(self) -> None:
        """Let go of the file. May be called again."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _write(self, change: Change) -> None:
        table, key, body = change
        if table == "blob":
            self._write_blob(*split_key(key), keep=body is not None)
        elif body is not None:
            row = (key, body, checksum(table, key, body))
            self._database.execute(_PUT.format(table), row)
        elif key:
            self._database.execute(_DROP.format(table), (key,))
        else:
            self._database.execute(_DROP_ALL.format(table))

    def _write_blob(self, repository: str, digest: str, *, keep: bool) -> None:
        number = self._numbers.get(repository)
        raw = bytes.fromhex(digest.partition(":")[2])
        if not keep:
            if number is not None:
                self._database.execute("DELETE FROM blob WHERE digest = ? AND repository = ?", (raw, number))
            return
        if number is None:
            number = self._add_name(repository)
        told = checksum("blob", repository.encode(), raw)
        self._database.execute("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", (raw, number, told))

    def _add_name(self, repository: str) -> int:
        name = repository.encode()
        row = (name, checksum("repository", name))
        number = self._database.execute("INSERT INTO repository (name, sum) VALUES (?, ?)", row).lastrowid
        assert number is not None
        # The sum of a blob is over the name, so that a number which meant another repository once proves nothing.
        self._numbers[repository] = number
        self._names[number] = repository
        return number

    def _is_right(self, repository: str, digest: Digest, told: object) -> bool:
        right = told == checksum("blob", repository.encode(), digest.raw)
        self.damaged += not right
        return right

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # some errors have rolled it back already
                self._database.execute("ROLLBACK")
            self._numbers, self._names = {}, {}
            raise

    def _read(self, statement: str, *values: object) -> list[Any]:
        try:
            # All at once: a statement that is left half-way keeps the WAL from being taken up.
            return self._database.execute(statement, values).fetchall()
        except (*_ERRORS, OverflowError) as error:
            raise JournalReadError(str(error)) from None

    def _number(self, statement: str) -> int:
        return int(self._database.execute(statement).fetchall()[0][0])


_OTHER_NAME = "Give --state the name of a journal, or of a file that is not there yet."


def make_file(path: str) -> None:
    """Make the file with mode 600, where there is none; SQLite would make it with 644.

    To be called before the first connection only: closing any descriptor of the file drops the process's fcntl locks on
    it, and those are SQLite's. Raises JournalError.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unusable(path, error) from None


def _connect(path: str) -> sqlite3.Connection:
    return _set_up(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None))


def _connect_read_only(path: str) -> sqlite3.Connection:
    file = Path(path).resolve(strict=True)
    # Where nobody has it open, none of SQLite's own files need be made, which would take the right to write there.
    how = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    return _set_up(sqlite3.connect(f"{file.as_uri()}?{how}", uri=True, timeout=WAIT_S, isolation_level=None))


def _set_up(database: sqlite3.Connection) -> sqlite3.Connection:
    try:
        # A damaged text need not be UTF-8.
        database.text_factory = bytes
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        database.close()
        raise
    return database


def _unusable(path: str, error: Exception) -> JournalError:
    if isinstance(error, OSError):
        return JournalError(f"the journal {path} cannot be opened: {error.strerror}")
    text = "its tables have no readable names" if isinstance(error, UnicodeDecodeError) else str(error)
    if "not a database" in text:
        return JournalError(f"{path} is not a journal of image-syncer", hint=_OTHER_NAME)
    if "malformed" in text or isinstance(error, UnicodeDecodeError):
        return JournalError(f"the journal {path} is damaged, and cannot be used ({text})", hint=NEW_JOURNAL)
    return JournalError(f"the journal {path} cannot be used: {text}", hint=NEW_JOURNAL)
