"""What a journal holds, as values and as the bytes that stand for them.

Every record is a key and a body, both bytes, and a checksum over table, key and body. A record whose checksum is wrong
is not there. CRC-32 finds every single flipped bit and every burst of up to 32; what it is for are disks that lie, and
not people who write journals by hand.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson
from msgspec import field

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "HEADER",
    "NEW_JOURNAL",
    "RUN",
    "TABLES",
    "Change",
    "DoneImage",
    "Header",
    "JournalReadError",
    "RunRecord",
    "Trouble",
    "checksum",
    "join_key",
    "parse_record",
    "split_key",
]

TABLES = ("fact", "done", "trouble", "session", "quirk")
"""The tables of records; blobs have one of their own, since there are so many of them."""

HEADER, RUN = b"header", b"run"
"""The keys of the facts."""
NEW_JOURNAL = (
    "Or give --state a new name: the destination is then asked what it has, with two requests for each image, "
    "and nothing is copied twice."
)

_T = TypeVar("_T")
_SEPARATOR = b"\0"


class JournalReadError(Exception):
    """The file cannot be read any further: the disk fails, or SQLite finds its tree damaged."""


class Change(NamedTuple):
    """One thing to be written: the record of `key` gets this body, or (None) is dropped; an empty key stands for all.

    `table` is one of `TABLES`, or "blob", whose key is a repository and a digest, and whose body is empty.
    """

    table: str
    key: bytes
    body: bytes | None


def checksum(table: str, *parts: bytes) -> int:
    """The checksum of a record."""
    return zlib.crc32(_SEPARATOR.join((table.encode(), *parts)))


def join_key(*parts: str) -> bytes:
    """The key that these names make together; none of them may hold a NUL."""
    return _SEPARATOR.join(part.encode() for part in parts)


def split_key(key: bytes) -> list[str]:
    """The names that `join_key` joined; UnicodeDecodeError where they are none."""
    return [part.decode() for part in key.split(_SEPARATOR)]


def parse_record(parse: Callable[[bytes], _T], body: bytes) -> _T | None:
    """What `parse` makes of a body; None where it can make nothing of it."""
    try:
        return parse(body)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class Header(Value, frozen=True):
    """What a journal belongs to: the release that began it, and the settings that decide what an image becomes."""

    program: str
    meaning: dict[str, str]
    begun_at: str

    def to_body(self) -> bytes:
        """The bytes for it."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_body(cls, body: bytes) -> Header:
        """The header of these bytes; ValueError, TypeError or KeyError where they are none."""
        data = orjson.loads(body)
        return cls(data["program"], dict(data["meaning"]), data["begun_at"])


class DoneImage(Value, frozen=True):
    """What was brought to one destination: the source's manifest, what it became, and the platforms that were wanted
    ("" for all).
    """

    source: str
    wanted: str
    source_digest: str
    destination_digest: str

    def to_body(self) -> bytes:
        """The bytes for it. Digests that are equal, as they nearly always are, stand there once."""
        other = None if self.destination_digest == self.source_digest else self.destination_digest
        return orjson.dumps([self.source, self.wanted, self.source_digest, other])

    @classmethod
    def from_body(cls, body: bytes) -> DoneImage:
        """The image of these bytes; ValueError or TypeError where they are none."""
        source, wanted, source_digest, other = orjson.loads(body)
        return cls(source, wanted, source_digest, other or source_digest)


class Trouble(Value, frozen=True):
    """One image that the last run did not bring to one destination: how it ended, why, and the kind of the error."""

    source: str
    destination: str
    outcome: str
    reason: str | None = None
    kind: str | None = None

    @property
    def key(self) -> bytes:
        """The outcome comes first, so that those of one are together."""
        return join_key(self.outcome, self.destination)

    def to_body(self) -> bytes:
        """The bytes for what is not in the key."""
        return orjson.dumps([self.source, self.reason, self.kind])

    @classmethod
    def from_record(cls, key: bytes, body: bytes) -> Trouble:
        """The trouble of this record; ValueError or TypeError where it is none."""
        outcome, destination = split_key(key)
        source, reason, kind = orjson.loads(body)
        return cls(source, destination, outcome, reason, kind)


class RunRecord(Value, frozen=True):
    """How far the last run was when it last told: once a second, and at its end. Times are seconds, sizes bytes.

    `number` counts the runs of the journal; `started_at`, `told_at` and `ended_at` are ISO 8601 in UTC. `ended` says
    how it ended ("complete", "SIGINT", …), None while it runs, or where it was killed. The time that was left then
    is that of a `Snapshot`.
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
        """The bytes for it."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_body(cls, body: bytes) -> RunRecord:
        """The run of these bytes; ValueError or TypeError where they are none."""
        data: dict[str, Any] = orjson.loads(body)
        return cls(**{each.name: data[each.name] for each in fields(cls) if each.name in data})
