"""Packing: finished blobs on their way into the parts of a bundle, which may be killed at any moment and goes on.

What is on the disk meanwhile, in the bundle's directory:

    part-0001.tar …                  parts that are whole
    part-0003.tar.partial            the part that is being written
    unfinished/parts                 a line of JSON for each part that is whole: name, size, SHA-256
    unfinished/finished/<algorithm>-<hex>   blobs that are complete and verified, and not in a part yet
    unfinished/uploads, catalogue    what the storage has that takes them in (`bundle_export`)

The archive itself says what is in it. After a kill, parts that were whole are kept as they are; the members that end in
the part that was not are read again and must be what their names say, and the archive is cut behind the last that is.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.layout.bundle_record import BUNDLE_FILE, blob_path
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.tar_index import index_tar
from image_syncer.layout.tar_parts import PartFiles
from image_syncer.layout.tar_writer import Part, TarWriter, numbered_parts, partial_path
from image_syncer.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from image_syncer.layout.tar_index import Member

__all__ = ["UNFINISHED", "Packing", "check_bundle_directory", "finished_path", "lock_bundle"]

UNFINISHED = "unfinished"
"""The folder of a bundle that is being made."""

_PATIENCE_S = 10.0
_POLL_S = 0.05
_PIECE_BYTES = 2**20
_BLOCK_BYTES = 512


def check_bundle_directory(directory: Path) -> None:
    """Raises ConfigurationError where a bundle can neither be begun in `directory` nor gone on with."""
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


def lock_bundle(directory: Path, patience_s: float = _PATIENCE_S) -> int:
    """A descriptor; until it is closed, nobody else makes the bundle in `directory`. The process of an export that was
    killed may still be packing: it is waited for. Raises PlaceError where it, or another export, does not end.
    """
    descriptor = os.open(directory / UNFINISHED / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203 - it is waited for
            if time.monotonic() > until:
                os.close(descriptor)
                raise PlaceError("another export is writing to it", "wait for that one") from None
            time.sleep(_POLL_S)
        else:
            return descriptor


def finished_path(directory: Path, digest: Digest) -> Path:
    """Where a finished blob waits to be packed."""
    return directory / UNFINISHED / "finished" / f"{digest.algorithm}-{digest.hex}"


class Packing:
    """The parts of the bundle in `directory`, as far as they have come, and what waits to get into them.

    Raises OSError where something cannot be read or written.
    """

    def __init__(self, directory: Path, part_bytes: int) -> None:
        self._directory = directory
        self._records = directory / UNFINISHED / "parts"
        self._part_path = numbered_parts(directory)
        finished_path(directory, _ANY).parent.mkdir(parents=True, exist_ok=True)
        closed = self._read_closed()
        self.members: dict[Digest, Member] = {}
        """What is packed, and where."""
        keep_bytes = self._find_whole(closed)
        kept: list[Part] = []
        for part in closed:
            if sum(each.size for each in kept) + part.size <= keep_bytes:
                kept.append(part)
        self._write_records(kept)
        self._writer = TarWriter(
            self._part_path, part_bytes=part_bytes, on_part=self._note_part, closed=closed, keep_bytes=keep_bytes
        )

    def waiting(self) -> list[Digest]:
        """The blobs that are complete and not packed; what an export before left of them that is spoiled is removed."""
        found = []
        for path in sorted(finished_path(self._directory, _ANY).parent.iterdir()):
            digest = Digest(path.name.replace("-", ":", 1))
            if digest in self.members or not _has_digest(path, digest):
                path.unlink()
            else:
                found.append(digest)
        return found

    def pack(self, digest: Digest) -> None:
        """Append a blob that waits."""
        path = finished_path(self._directory, digest)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.members[digest] = self._writer.append_file(blob_path(digest), file, size)
        self._writer.flush()
        path.unlink()

    def pack_bytes(self, digest: Digest, raw: bytes) -> Member:
        """Append small content, unless it is there."""
        found = self.members.get(digest)
        if found is None:
            found = self.members[digest] = self._writer.append_bytes(blob_path(digest), raw)
        return found

    def finish(self, *files: tuple[str, bytes]) -> tuple[Part, ...]:
        """Append `files` and end the archive."""
        for name, raw in files:
            self._writer.append_bytes(name, raw)
        return self._writer.finish()

    def close(self) -> None:
        """Leave it as it is."""
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
        """The parts that are whole, from the first on, as far as their files have their sizes."""
        closed: list[Part] = []
        lines = self._records.read_bytes().splitlines() if self._records.exists() else []
        for number, line in enumerate(lines, start=1):
            path = self._part_path(number)
            try:
                part = Part(**orjson.loads(line))
            except (ValueError, TypeError):
                break  # the last line was cut
            if part.name != path.name or not path.is_file() or path.stat().st_size != part.size:
                break
            closed.append(part)
        # A part that got its name, and not its line any more, is the one that was being written.
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
        """Note the members that can be kept, and return where the last of them ends, in bytes of the archive."""
        paths = [self._part_path(number) for number in range(1, len(closed) + 1)]
        partial = partial_path(self._part_path(len(closed) + 1))
        if partial.exists():
            paths.append(partial)
        surely = sum(part.size for part in closed)
        end = 0
        with PartFiles(paths) as parts:
            for name, member in index_tar(parts, begun=True).members.items():
                digest = _digest_of(name)
                if digest is None:
                    break  # the archive was about to be ended, with what was to be in that bundle
                next_end = member.offset + -(-member.size // _BLOCK_BYTES) * _BLOCK_BYTES
                if next_end > parts.size or (next_end > surely and not _is_whole(parts, member, digest)):
                    break
                self.members[digest] = member
                end = next_end
        return end


_ANY = Digest("sha256:" + "0" * 64)


def _digest_of(name: str) -> Digest | None:
    folder, _, rest = name.partition("/")
    try:
        return Digest(rest.replace("/", ":", 1)) if folder == "blobs" else None
    except ValueError:
        return None


def _is_whole(parts: PartFiles, member: Member, digest: Digest) -> bool:
    offset, end = member.offset, member.offset + member.size

    def read() -> bytes:
        nonlocal offset
        piece = parts.pread_some(offset, min(_PIECE_BYTES, end - offset)) if offset < end else b""
        offset += len(piece)
        return piece

    return _hashed(read, digest) == digest


def _has_digest(path: Path, digest: Digest) -> bool:
    with path.open("rb") as file:
        return _hashed(lambda: file.read(_PIECE_BYTES), digest) == digest


def _hashed(read: Callable[[], bytes], digest: Digest) -> str:
    running = digest.new_hash()
    while piece := read():
        running.update(piece)
    return f"{digest.algorithm}:{running.hexdigest()}"
