"""Writes a tar archive, in one file or in parts of a size, without ever holding a member in memory.

A part has its final name only when it is whole and on the disk: until then it is called `….partial`. What is written is
the same for the same members in the same order: no times, no owners.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from image_syncer.layout.tar_index import Member
from image_syncer.layout.tar_parts import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

__all__ = ["Part", "TarWriter", "numbered_parts", "partial_path", "sync_directory"]

_BLOCK = tarfile.BLOCKSIZE
_PIECE_BYTES = 2**20


class Part(NamedTuple):
    """A part that is whole: its file's name, its bytes, and their SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def numbered_parts(directory: str | os.PathLike[str]) -> Callable[[int], Path]:
    """The paths `part-0001.tar` … in `directory`, which sort as they follow each other up to 9999."""
    return lambda number: Path(directory) / f"part-{number:04d}.tar"


def partial_path(path: Path) -> Path:
    """What a part is called until it is whole."""
    return path.with_name(path.name + ".partial")


class TarWriter:
    """Appends members to an archive whose part number n (from 1) lies at `part_path(n)`.

    Without `part_bytes` there is one part. A member that does not fit goes on in the next part. `on_part` is told of
    each part that is whole, when it has its name.

    To go on with an archive, give its whole parts as `closed` and the bytes of the archive to keep, which have to end
    with a member: what lies behind is cut off, be it in a part that was closed.

    Raises OSError where something cannot be written.
    """

    def __init__(
        self,
        part_path: Callable[[int], Path],
        *,
        part_bytes: int | None = None,
        on_part: Callable[[Part], None] | None = None,
        closed: Sequence[Part] = (),
        keep_bytes: int = 0,
    ) -> None:
        if part_bytes is not None and part_bytes < _BLOCK:
            raise ValueError(f"a part has at least {_BLOCK} bytes")
        self._part_path = part_path
        self._part_bytes = part_bytes
        self._on_part = on_part
        self._parts: list[Part] = []
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._part_size = 0
        self.size = 0
        """Bytes of the archive so far, over all parts."""
        self._go_on(closed, keep_bytes)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are whole."""
        return tuple(self._parts)

    def append_bytes(self, name: str, raw: bytes) -> Member:
        """Append a member, and say where it is."""
        self._write(_header(name, len(raw)))
        begin = self.size
        self._write(raw)
        self._write(bytes(-len(raw) % _BLOCK))
        return Member(begin, len(raw))

    def append_file(self, name: str, file: BinaryIO, size_bytes: int) -> Member:
        """Append `size_bytes` of `file` from where it stands, and say where they are. Raises ArchiveError where it has
        fewer; the archive is useless then, until it is cut back to where it was.
        """
        self._write(_header(name, size_bytes))
        begin, missing_bytes = self.size, size_bytes
        while missing_bytes:
            piece = file.read(min(_PIECE_BYTES, missing_bytes))
            if not piece:
                raise ArchiveError(f"{name} has become shorter by {missing_bytes} bytes while it was packed")
            self._write(piece)
            missing_bytes -= len(piece)
        self._write(bytes(-size_bytes % _BLOCK))
        return Member(begin, size_bytes)

    def finish(self) -> tuple[Part, ...]:
        """End the archive, and return its parts, which are on the disk then."""
        self._write(bytes(2 * _BLOCK))
        self._close_part()
        return self.parts

    def flush(self) -> None:
        """Give what was appended to the operating system, for whoever reads the open part."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Leave the archive as it is, to go on with it later or never."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write(self, raw: bytes) -> None:
        view = memoryview(raw)
        while view:
            if self._part_bytes is not None and self._part_size >= self._part_bytes:
                self._close_part()  # it was begun when parts were larger
            if self._file is None:
                self._file = partial_path(self._part_path(len(self._parts) + 1)).open("wb")
            room = len(view) if self._part_bytes is None else self._part_bytes - self._part_size
            piece, view = view[:room], view[room:]
            self._file.write(piece)
            self._hash.update(piece)
            self._part_size += len(piece)
            self.size += len(piece)
            if self._part_size == self._part_bytes:
                self._close_part()

    def _close_part(self) -> None:
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        path = self._part_path(len(self._parts) + 1)
        partial_path(path).replace(path)
        sync_directory(path.parent)
        part = Part(path.name, self._part_size, self._hash.hexdigest())
        self._parts.append(part)
        self._hash, self._part_size = hashlib.sha256(), 0
        if self._on_part is not None:
            self._on_part(part)

    def _go_on(self, closed: Sequence[Part], keep_bytes: int) -> None:
        begin = 0
        for number, part in enumerate(closed, start=1):
            if begin + part.size <= keep_bytes:
                self._parts.append(part)
                begin += part.size
                continue
            path = self._part_path(number)
            if begin < keep_bytes:
                path.replace(partial_path(path))
            else:
                path.unlink(missing_ok=True)
                partial_path(path).unlink(missing_ok=True)
        self.size = begin
        path = partial_path(self._part_path(len(self._parts) + 1))
        if begin == keep_bytes:
            path.unlink(missing_ok=True)
            return
        missing_bytes = keep_bytes - begin - path.stat().st_size
        if missing_bytes > 0:
            raise ArchiveError(f"{path} has become shorter: {missing_bytes} bytes are missing")
        self._file = path.open("r+b")
        self._file.truncate(keep_bytes - begin)
        while piece := self._file.read(_PIECE_BYTES):
            self._hash.update(piece)
            self._part_size += len(piece)
        self.size += self._part_size


def _header(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def sync_directory(path: Path) -> None:
    """Make the new names of files last, where the file system can (not on all that are mounted from elsewhere)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
