"""The records of a journal, as values and as bytes.

Each record has a key, a body, and a CRC-32 over table, key and body; one with a wrong checksum does not count. It finds
every single flipped bit and every burst of up to 32: it is for faulty disks, not for forged journals.
"""

from __future__ import annotations

import zlib
from datetime import datetime, timezone
from typing import NamedTuple, TypeVar

import msgspec
import orjson
from msgspec import field

from image_syncer.values import Value, as_dict

TABLES = ("fact", "done", "trouble", "session", "quirk")
"""The tables of records; blobs have a table of their own, since they are so many."""

HEADER, RUN = b"header", b"run"
"""The keys of facts."""
NEW_JOURNAL = (
    "Or give --state a new name: the destination is then asked what it has, with two requests for each image, "
    "and nothing is copied twice."
)

_Record = TypeVar("_Record", "Header", "RunRecord")
_SEPARATOR = b"\0"


class JournalReadError(Exception):
    """The file cannot be read: the disk fails, or SQLite finds it damaged."""


class JournalChange(NamedTuple):
    """One change: the record of `key` gets this body, or (None) is dropped; an empty key means all records.

    `table` is one of `TABLES`, or "blob", whose key is a repository and a digest, and whose body is empty.
    """

    table: str
    key: bytes
    body: bytes | None


def checksum(table: str, *parts: bytes) -> int:
    """Return the checksum of a record."""
    return zlib.crc32(_SEPARATOR.join((table.encode(), *parts)))


def join_key(*parts: str) -> bytes:
    """Return the key of these names, which contain no NUL."""
    return _SEPARATOR.join(part.encode() for part in parts)


def split_key(key: bytes) -> list[str]:
    """Return the names of a key. Raises UnicodeDecodeError."""
    return [part.decode() for part in key.split(_SEPARATOR)]


def now_text() -> str:
    """Return the current time in ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_fact(kind: type[_Record], body: bytes | None) -> _Record | None:
    """Return the header or run of a body; None without one, or where it is unusable."""
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError:
        return None


class Header(Value, frozen=True):
    """The release that began a journal, and the settings that decide what an image becomes."""

    program: str
    meaning: dict[str, str]
    begun_at: str

    def to_body(self) -> bytes:
        """Return the record's body."""
        return orjson.dumps(as_dict(self))


class DoneImage(Value, frozen=True):
    """The image at one destination: the source's manifest, what it became, and the `wanted` platforms ("" for all)."""

    source: str
    wanted: str
    source_digest: str
    destination_digest: str

    def to_body(self) -> bytes:
        """Return the record's body, with equal digests, as nearly always, only once."""
        other = None if self.destination_digest == self.source_digest else self.destination_digest
        return orjson.dumps([self.source, self.wanted, self.source_digest, other])

    @classmethod
    def from_body(cls, body: bytes) -> DoneImage | None:
        """Return the image of a body; None where it is unusable."""
        try:
            source, wanted, source_digest, other = orjson.loads(body)
        except (ValueError, TypeError):
            return None
        return cls(source, wanted, source_digest, other or source_digest)


class Trouble(Value, frozen=True):
    """One image that the last run did not copy to one destination: outcome, reason, and the kind of the error."""

    source: str
    destination: str
    outcome: str
    reason: str | None = None
    kind: str | None = None

    @property
    def key(self) -> bytes:
        """The record's key, ordered by outcome."""
        return join_key(self.outcome, self.destination)

    def to_body(self) -> bytes:
        """Return the record's body: what is not in the key."""
        return orjson.dumps([self.source, self.reason, self.kind])

    @classmethod
    def from_record(cls, key: bytes, body: bytes) -> Trouble | None:
        """Return the trouble of a record; None where it is unusable."""
        try:
            outcome, destination = split_key(key)
            source, reason, kind = orjson.loads(body)
        except (ValueError, TypeError):
            return None
        return cls(source, destination, outcome, reason, kind)


class RunRecord(Value, frozen=True):
    """The progress of the last run, noted once a second and at its end. Times are seconds, sizes bytes.

    `number` counts the runs of the journal; `started_at`, `told_at` and `ended_at` are ISO 8601 in UTC. `ended` is how
    it ended ("complete", "SIGINT", …), None while it runs, or after it was killed. The other fields are a `Snapshot`'s.
    """

    number: int
    pid: int
    started_at: str
    told_at: str
    ended_at: str | None = None
    ended: str | None = None
    elapsed_s: float = 0.0
    images_total: int = 0
    images_ended: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    listing: bool = True
    blobs_total: int = 0
    blobs_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    bytes_per_s: float = 0.0
    eta_s: float | None = None
    eta_least_s: float | None = None
    eta_most_s: float | None = None

    def to_body(self) -> bytes:
        """Return the record's body."""
        return orjson.dumps(as_dict(self))
