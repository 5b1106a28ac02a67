"""The file of a journal: SQLite in WAL mode with a checksum in every record, and the thread that writes it.

SQLite answers for one image among millions in bounded memory, also for `status` while a run writes; it writes a batch
wholly or not at all, and readers never wait for the writer (sqlite.org/wal.html). It has no checksum of pages that have
left the WAL, so every record has one. Damage to the tree can hide records, whose content is then requested or copied
again, but cannot forge one. `synchronous` is FULL: a committed batch has been fsynced. The file and SQLite's own beside
it have mode 600: they have digests, registries and URLs of upload sessions, and no passwords or tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.errors import JournalError
from image_syncer.journal.records import NEW_JOURNAL, TABLES, JournalChange, JournalReadError, checksum, split_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from image_syncer.oci import Digest


FORMAT = 1
"""The version of tables and bodies; other versions are not read."""
APPLICATION_ID = 0x696D7379
"""The mark of our journals in SQLite's header ("imsy")."""
WAIT_S = 10.0
"""The wait for a lock of SQLite, which is held for no longer than a checkpoint."""
CACHE_KIB = 4 * 2**10
_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""SQLite's errors: their messages repeat damaged names, which Python may be unable to decode."""
_GET = "SELECT body, sum FROM {} WHERE key = ?"
_ALL = "SELECT key, body, sum FROM {} WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"
_LAST = b"\xff"
"""No name has this byte: keys with a prefix precede the prefix with it."""
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
BATCH_S = 0.5
"""The wait of a change for others before it is written: what a kill -9 costs."""
BATCH_CHANGES = 2000
"""Changes that do not wait: some 10 ms of writing, and one fsync."""
MOST_PENDING = 200_000
"""Some 60 MB, more than a working disk leaves pending."""
CLOSE_S = 30.0
"""The time of the last batch on a slow disk."""
_OTHER_NAME = "Give --state the name of a journal, or of a file that is not there yet."


class JournalFile:
    """One connection to a journal; the writer has its own, in its own thread.

    `damaged` counts records with a wrong checksum. Opening raises JournalError, reading JournalReadError, writing
    sqlite3.Error.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        """With `read_only`, nothing is created or changed, and other processes' writes are seen."""
        self.path = path
        self.damaged = 0
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        try:
            self._database = _connect_read_only(path) if read_only else _connect(path)
        except (*_ERRORS, OSError) as error:
            raise _unusable(path, error) from None

    def prepare(self, first: JournalChange) -> bool:
        """Create the tables and a first record in a new file; return whether it was new.

        Raises JournalError for a file that is no journal of this format.
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
        """Return whether nothing has been written. Raises JournalReadError."""
        return not self._read("SELECT 1 FROM sqlite_master LIMIT 1")

    def check_format(self) -> None:
        """Raise JournalError for a file that is no journal of this format."""
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
        """Read the repositories of the blobs, some 200 bytes for each. Raises JournalReadError."""
        self._numbers, self._names = {}, {}
        for number, name, stored in self._read("SELECT number, name, sum FROM repository"):
            if not isinstance(name, bytes) or stored != checksum("repository", name) or not name.isascii():
                self.damaged += 1
                continue
            self._numbers[name.decode()] = number
            self._names[number] = name.decode()

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the body of a record; None without one, or with a wrong checksum."""
        for body, stored in self._read(_GET.format(table), key):
            if isinstance(body, bytes) and stored == checksum(table, key, body):
                return body
            self.damaged += 1
        return None

    def records(self, table: str, prefix: bytes = b"", limit: int = -1) -> list[tuple[bytes, bytes]]:
        """Return (key, body) of the undamaged ones of the first `limit` records with a `prefix`, by key."""
        rows = self._read(_ALL.format(table), prefix, prefix + _LAST, limit)
        found = []
        for key, body, stored in rows:
            if isinstance(key, bytes) and isinstance(body, bytes) and stored == checksum(table, key, body):
                found.append((key, body))
            else:
                self.damaged += 1
        return found

    def count(self, table: str) -> int:
        """Return the number of records of a table, with damaged ones."""
        [(count,)] = self._read(_COUNT.format(table))
        return int(count)

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Return whether the blob was verified in `repository`."""
        number = self._numbers.get(repository)
        if number is None:
            return False
        rows = self._read("SELECT sum FROM blob WHERE digest = ? AND repository = ?", digest.raw, number)
        return any(self._is_right(repository, digest, stored) for (stored,) in rows)

    def homes(self, digest: Digest) -> list[str]:
        """Return the repositories in which the blob was verified."""
        rows = self._read("SELECT repository, sum FROM blob WHERE digest = ?", digest.raw)
        named = [(self._names.get(number), stored) for number, stored in rows]
        return [name for name, stored in named if name is not None and self._is_right(name, digest, stored)]

    def write(self, changes: Iterable[JournalChange]) -> None:
        """Write all changes to the disk, or none."""
        with self._transaction():
            for change in changes:
                self._write(change)

    def close(self) -> None:
        """Close the file. May be called again."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _write(self, change: JournalChange) -> None:
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
        stored = checksum("blob", repository.encode(), raw)
        self._database.execute("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", (raw, number, stored))

    def _add_name(self, repository: str) -> int:
        name = repository.encode()
        row = (name, checksum("repository", name))
        number = self._database.execute("INSERT INTO repository (name, sum) VALUES (?, ?)", row).lastrowid
        assert number is not None
        # A blob's checksum is over the name, so a number that was another repository's proves nothing.
        self._numbers[repository] = number
        self._names[number] = repository
        return number

    def _is_right(self, repository: str, digest: Digest, stored: object) -> bool:
        right = stored == checksum("blob", repository.encode(), digest.raw)
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
            # All rows at once: an unfinished statement blocks the WAL's checkpoint.
            return self._database.execute(statement, values).fetchall()
        except (*_ERRORS, OverflowError) as error:
            raise JournalReadError(str(error)) from None

    def _number(self, statement: str) -> int:
        return int(self._database.execute(statement).fetchall()[0][0])


def make_file(path: str) -> None:
    """Create the file with mode 600 where it does not exist; SQLite would create it with 644.

    It must precede the first connection: closing any descriptor drops the process's fcntl locks on the file, which are
    SQLite's. Raises JournalError.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unusable(path, error) from None


def _connect(path: str) -> sqlite3.Connection:
    return _set_up(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None))


def _connect_read_only(path: str) -> sqlite3.Connection:
    file = Path(path).resolve(strict=True)
    # Where no process has it open, SQLite's own files need not be created, which needs the right to write there.
    how = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    return _set_up(sqlite3.connect(f"{file.as_uri()}?{how}", uri=True, timeout=WAIT_S, isolation_level=None))


def _set_up(database: sqlite3.Connection) -> sqlite3.Connection:
    try:
        # Damaged text may not be UTF-8.
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


class JournalWriter:
    """Writes to the prepared journal `path` in a thread, in batches; the loop only appends to a list.

    Past a bound, or at the first error, it gives up, so that no disk delays the run: `on_failure` is called with the
    reason, once, from any thread.
    """

    def __init__(self, path: str, on_failure: Callable[[str], None]) -> None:
        self._path = path
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._pending: list[JournalChange] = []
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[bool]]] = []
        self._closing = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def put(self, change: JournalChange) -> None:
        """Queue a change."""
        with self._lock:
            if self._failed or self._closing:
                return
            self._pending.append(change)
            count = len(self._pending)
        if count >= MOST_PENDING:
            self._fail(f"the disk is too slow: {count:,} records wait to be written")
        elif count >= BATCH_CHANGES:
            self._wake.set()

    async def flush(self) -> bool:
        """Return when all queued changes are on the disk; False where they never will be."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        with self._lock:
            if self._failed or self._closing:
                return False
            self._waiting.append((loop, future))
        self._wake.set()
        return await future

    def close(self) -> None:
        """Write the rest and end the thread. May be called again."""
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._fail(f"the disk is too slow: the last batch was not written within {CLOSE_S:.0f} s")

    def _run(self) -> None:
        try:
            file = JournalFile(self._path)
        except JournalError as error:
            self._fail(error.message)
            return
        try:
            file.load_names()
            self._write_batches(file)
        except sqlite3.Error as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run continues
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            file.close()

    def _write_batches(self, file: JournalFile) -> None:
        while not self._failed:
            self._wake.wait(BATCH_S)
            self._wake.clear()
            with self._lock:
                closing = self._closing
                batch, self._pending = self._pending, []
                waiting, self._waiting = self._waiting, []
            try:
                if batch:
                    file.write(batch)
            except BaseException:
                with self._lock:
                    self._waiting += waiting
                raise
            _tell(waiting, written=True)
            if closing:
                return

    def _fail(self, reason: str) -> None:
        with self._lock:
            first, self._failed = not self._failed, True
            self._pending = []
            waiting, self._waiting = self._waiting, []
        if first:
            self._on_failure(reason)
        _tell(waiting, written=False)


def _tell(waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[bool]]], *, written: bool) -> None:
    for loop, future in waiting:
        loop.call_soon_threadsafe(_answer, future, written)


def _answer(future: asyncio.Future[bool], written: bool) -> None:
    if not future.done():
        future.set_result(written)
