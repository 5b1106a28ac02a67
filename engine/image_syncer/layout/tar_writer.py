"""Writes a tar archive, in one file or in parts of a size, without holding a member in memory.

A part is called `….partial` until it is complete and on the disk. The same members in the same order give the same
bytes: there are no times and no owners.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from image_syncer.layout.tar_index import ArchiveError, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO


_BLOCK = tarfile.BLOCKSIZE
_PIECE_BYTES = 2**20


class Part(NamedTuple):
    """A complete part: the name of its file, its bytes, and their SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def numbered_parts(directory: str | os.PathLike[str]) -> Callable[[int], Path]:
    """Return the paths `part-0001.tar` … in `directory`, in their order up to 9999."""
    return lambda number: Path(directory) / f"part-{number:04d}.tar"


def partial_path(path: Path) -> Path:
    """Return the path of an incomplete part."""
    return path.with_name(path.name + ".partial")


class TarWriter:
    """Appends members to an archive whose part number n (from 1) is at `part_path(n)`.

    Without `part_bytes` there is one part. A member that does not fit continues in the next part. `on_part` gets each
    complete part after its file has the final name.

    To continue an archive, give its complete parts as `closed`, and the bytes to keep, which must end with a member:
    the rest is cut off, even in a closed part. Raises OSError.
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
        self.parts: tuple[Part, ...] = ()
        """The complete parts."""
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._part_size = 0
        self.size = 0
        """Bytes of the archive so far, in all parts."""
        self._continue(closed, keep_bytes)

    def append_bytes(self, name: str, raw: bytes) -> Member:
        """Append a member, and return its position."""
        self._write(_header(name, len(raw)))
        begin = self.size
        self._write(raw)
        self._write(bytes(-len(raw) % _BLOCK))
        return Member(begin, len(raw))

    def append_file(self, name: str, file: BinaryIO, size_bytes: int) -> Member:
        """Append `size_bytes` of `file` from its position, and return the position of the member.

        Raises ArchiveError if the file has fewer bytes; then the archive must be cut back.
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
        """End the archive, and return its parts, which are on the disk."""
        self._write(bytes(2 * _BLOCK))
        self._close_part()
        return self.parts

    def flush(self) -> None:
        """Flush the buffer, so that the open part can be read."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file without ending the archive."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _write(self, raw: bytes) -> None:
        view = memoryview(raw)
        while view:
            if self._part_bytes is not None and self._part_size >= self._part_bytes:
                self._close_part()  # it was started with a larger part size
            if self._file is None:
                self._file = partial_path(self._part_path(len(self.parts) + 1)).open("wb")
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
        path = self._part_path(len(self.parts) + 1)
        partial_path(path).replace(path)
        sync_directory(path.parent)
        part = Part(path.name, self._part_size, self._hash.hexdigest())
        self.parts = (*self.parts, part)
        self._hash, self._part_size = hashlib.sha256(), 0
        if self._on_part is not None:
            self._on_part(part)

    def _continue(self, closed: Sequence[Part], keep_bytes: int) -> None:
        end = 0
        for number, part in enumerate(closed, start=1):
            begin, end = end, end + part.size
            if end <= keep_bytes:
                self.parts = (*self.parts, part)
                continue
            path = self._part_path(number)
            if begin < keep_bytes:
                path.replace(partial_path(path))
            else:
                path.unlink(missing_ok=True)
                partial_path(path).unlink(missing_ok=True)
        self.size = begin = sum(part.size for part in self.parts)
        path = partial_path(self._part_path(len(self.parts) + 1))
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
    """Write the names in a directory to the disk, if the file system supports it (some remote ones do not)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
