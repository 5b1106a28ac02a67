"""Packing: complete blobs go into the parts of a bundle. A kill at any moment is safe, and the next export continues.

Files in the bundle's directory meanwhile:

    part-0001.tar …                         complete parts
    part-0003.tar.partial                   the current part
    unfinished/parts                        a line of JSON for each complete part: name, size, SHA-256
    unfinished/finished/<algorithm>-<hex>   blobs that are complete and verified, and not packed yet
    unfinished/uploads, catalogue           files of the storage (`bundle_server`)

The archive is its own index. After a kill, complete parts stay; the members that end in the incomplete part are read
again, and the archive is cut after the last one with the right digest.
"""

from __future__ import annotations

import fcntl
import os
import time
from itertools import accumulate
from typing import TYPE_CHECKING

import orjson

from image_syncer.embedded.storage import FileReader, read_digest
from image_syncer.errors import ConfigurationError, PlaceError
from image_syncer.layout.bundle_record import BUNDLE_FILE, blob_path
from image_syncer.layout.tar_index import MemberReader, PartFiles, index_tar
from image_syncer.layout.tar_writer import Part, TarWriter, numbered_parts, partial_path
from image_syncer.oci import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.layout.tar_index import Member


UNFINISHED = "unfinished"
"""The directory for the state of an unfinished bundle."""

_LOCK_WAIT_S = 10.0
_POLL_S = 0.05
_BLOCK_BYTES = 512
_ANY = Digest("sha256:" + "0" * 64)


def check_bundle_directory(directory: Path) -> None:
    """Raise ConfigurationError if a bundle can be neither started in `directory` nor continued."""
    if (directory / BUNDLE_FILE).exists():
        raise ConfigurationError(
            f"{directory} has a whole bundle already",
            hint="Name another directory. For what has changed since, give this one with --against.",
        )
    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory", hint="Name a directory for the bundle.")
    if directory.is_dir() and not (directory / UNFINISHED).is_dir() and any(directory.iterdir()):
        raise ConfigurationError(
            f"{directory} has files in it, and none of a bundle that was begun",
            hint="Name an empty directory, or none.",
        )


def lock_bundle(directory: Path, wait_s: float = _LOCK_WAIT_S) -> int:
    """Lock the bundle in `directory` until the returned descriptor is closed. Raises PlaceError after `wait_s`.

    Waits, since the process of a killed export may still be packing.
    """
    descriptor = os.open(directory / UNFINISHED / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203 - tried again
            if time.monotonic() > until:
                os.close(descriptor)
                raise PlaceError("another export is writing to it", "wait for that one") from None
            time.sleep(_POLL_S)
        else:
            return descriptor


def finished_path(directory: Path, digest: Digest) -> Path:
    """Return the path of a complete blob before it is packed."""
    return directory / UNFINISHED / "finished" / f"{digest.algorithm}-{digest.hex}"


class Packing:
    """The parts of the bundle in `directory` so far, and the blobs that wait to be packed. Raises OSError."""

    def __init__(self, directory: Path, part_bytes: int) -> None:
        self._directory = directory
        self._records = directory / UNFINISHED / "parts"
        self._part_path = numbered_parts(directory)
        finished_path(directory, _ANY).parent.mkdir(parents=True, exist_ok=True)
        closed = self._read_closed()
        self.members: dict[Digest, Member] = {}
        """The packed blobs."""
        keep_bytes = self._find_whole(closed)
        ends = accumulate(part.size for part in closed)
        self._write_records([part for part, end in zip(closed, ends, strict=True) if end <= keep_bytes])
        self._writer = TarWriter(
            self._part_path, part_bytes=part_bytes, on_part=self._note_part, closed=closed, keep_bytes=keep_bytes
        )

    def waiting(self) -> list[Digest]:
        """Return the complete blobs that are not packed, and delete damaged ones of an earlier export."""
        found = []
        for path in sorted(finished_path(self._directory, _ANY).parent.iterdir()):
            digest = Digest(path.name.replace("-", ":", 1))
            if digest in self.members or _digest_of_file(path, digest.algorithm) != digest:
                path.unlink()
            else:
                found.append(digest)
        return found

    def pack(self, digest: Digest) -> None:
        """Append a waiting blob."""
        path = finished_path(self._directory, digest)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.members[digest] = self._writer.append_file(blob_path(digest), file, size)
        self._writer.flush()
        path.unlink()

    def pack_bytes(self, digest: Digest, raw: bytes) -> Member:
        """Append small content, unless it is packed already."""
        found = self.members.get(digest)
        if found is None:
            found = self.members[digest] = self._writer.append_bytes(blob_path(digest), raw)
        return found

    def finish(self, *files: tuple[str, bytes]) -> tuple[Part, ...]:
        """Append `files`, and end the archive."""
        for name, raw in files:
            self._writer.append_bytes(name, raw)
        return self._writer.finish()

    def close(self) -> None:
        """Close the files without ending the archive."""
        self._writer.close()

    def _note_part(self, part: Part) -> None:
        with self._records.open("ab") as file:
            file.write(orjson.dumps(part._asdict()) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _write_records(self, parts: list[Part]) -> None:
        temporary = self._records.with_suffix(".partial")
        temporary.write_bytes(b"".join(orjson.dumps(part._asdict()) + b"\n" for part in parts))
        temporary.replace(self._records)

    def _read_closed(self) -> list[Part]:
        """Return the complete parts up to the first whose file is missing or has another size."""
        closed: list[Part] = []
        lines = self._records.read_bytes().splitlines() if self._records.exists() else []
        for number, line in enumerate(lines, start=1):
            path = self._part_path(number)
            try:
                part = Part(**orjson.loads(line))
            except (ValueError, TypeError):
                break  # the last line is incomplete
            if part.name != path.name or not path.is_file() or path.stat().st_size != part.size:
                break
            closed.append(part)
        # A part with its final name but no line is the incomplete one.
        self._unname(len(closed) + 1)
        return closed

    def _unname(self, number: int) -> None:
        path = self._part_path(number)
        if path.exists():
            path.replace(partial_path(path))
        while (path := self._part_path(number := number + 1)).exists() or partial_path(path).exists():
            path.unlink(missing_ok=True)
            partial_path(path).unlink(missing_ok=True)

    def _find_whole(self, closed: list[Part]) -> int:
        """Add the members that can be kept, and return the offset in the archive where the last of them ends."""
        paths = [self._part_path(number) for number in range(1, len(closed) + 1)]
        partial = partial_path(self._part_path(len(closed) + 1))
        if partial.exists():
            paths.append(partial)
        complete_bytes = sum(part.size for part in closed)
        end = 0
        with PartFiles(paths) as parts:
            for name, member in index_tar(parts, begun=True).members.items():
                digest = _digest_of(name)
                if digest is None:
                    break  # the end of the archive, which the continued export writes again
                next_end = member.offset + -(-member.size // _BLOCK_BYTES) * _BLOCK_BYTES
                if next_end > parts.size:
                    break
                if next_end > complete_bytes and read_digest(MemberReader(parts, member), digest.algorithm) != digest:
                    break
                self.members[digest] = member
                end = next_end
        return end


def _digest_of(name: str) -> Digest | None:
    folder, _, rest = name.partition("/")
    try:
        return Digest(rest.replace("/", ":", 1)) if folder == "blobs" else None
    except ValueError:
        return None


def _digest_of_file(path: Path, algorithm: str) -> Digest:
    return read_digest(FileReader(os.open(path, os.O_RDONLY | os.O_CLOEXEC)), algorithm)
