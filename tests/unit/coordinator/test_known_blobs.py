"""The bound of the blob set: when the file comes, and what happens where it cannot be."""

from __future__ import annotations

import io
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.journal.known_blobs import KnownBlobsInFile
from image_syncer.oci import Repository, digest_of
from image_syncer.telemetry import configure_logging, logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.oci import Digest

HOME = Repository("dst.example", "team/app")


def digest(number: int) -> Digest:
    return digest_of(number.to_bytes(8, "big"))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    logs._sinks.clear()


def test_there_is_no_file_while_there_is_room_in_memory() -> None:
    known_blobs = BoundedKnownBlobs(10)
    for number in range(10):
        known_blobs.add(HOME, digest(number))
    assert known_blobs._file is None
    known_blobs.note("dst.example", digest(10))
    assert known_blobs._file is not None
    known_blobs.close()
    known_blobs.close()


def test_what_has_no_room_on_the_disk_is_forgotten_with_one_warning(log: io.StringIO) -> None:
    with closing(BoundedKnownBlobs(10)) as known_blobs:
        for number in range(100):
            known_blobs.add(HOME, digest(number))
        assert known_blobs._file is not None
        assert known_blobs._file._database is not None
        known_blobs._file._database.execute("PRAGMA max_page_count = 2")
        for number in range(100, 2000):
            known_blobs.add(HOME, digest(number))
        assert log.getvalue().count("cannot be used") == 1
        assert "database or disk is full" in log.getvalue()
        # What is in memory is known as before.
        assert [number for number in range(2000) if known_blobs.has(HOME, digest(number))] == list(range(10))
        assert (known_blobs.home("dst.example", digest(3)), known_blobs.home("dst.example", digest(30))) == (
            HOME.name,
            None,
        )
        assert not known_blobs.knows("dst.example", digest(30))


def test_a_file_that_cannot_be_opened_is_told(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    known_blobs = KnownBlobsInFile()
    known_blobs.add(HOME, digest(1))
    assert not known_blobs.has(HOME, digest(1))
    assert log.getvalue().count("unable to open database file") == 1


def test_a_python_without_sqlite_keeps_all_in_memory(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "image_syncer.journal.known_blobs", None)
    known_blobs = BoundedKnownBlobs(10)
    for number in range(100):
        known_blobs.add(HOME, digest(number))
    assert all(known_blobs.has(HOME, digest(number)) for number in range(100))
    assert log.getvalue().count("this Python has no SQLite") == 1
