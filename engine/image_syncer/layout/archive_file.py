"""A tar archive in one file, read where its members lie."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from image_syncer.embedded.file_content import FileReader
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.tar_index import index_tar
from image_syncer.layout.tar_parts import ArchiveError, PartFiles

if TYPE_CHECKING:
    from image_syncer.layout.tar_index import Member, TarIndex

__all__ = ["ArchiveFile", "compression_of"]

_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
"""RFC 1952, section 2.3.1; RFC 8878, section 3.1.1; the others' own file formats."""
_MAGIC_BYTES = 6


class ArchiveFile:
    """The file at `path`, which stays open. Raises PlaceError where it is no archive, or one that is compressed.

    `follow_links`: as in `index_tar`.
    """

    def __init__(self, path: str, *, follow_links: bool = False) -> None:
        self.path = path
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise PlaceError(f"{path} is no file", "give the path of an archive")
            with PartFiles([path]) as parts:
                self._index = _index_of(parts, path, follow_links=follow_links)
        except OSError as error:
            self.close()
            if isinstance(error, PlaceError):
                raise
            raise PlaceError(f"cannot read {path}: {error.strerror}", "give the path of an archive") from None

    @property
    def index(self) -> TarIndex:
        """What is in it."""
        return self._index

    def open(self, member: Member) -> FileReader:
        """A reader of a member."""
        return FileReader(os.dup(self._fd), member.offset, member.size)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """All bytes of a small member. Raises PlaceError where there is none, or more in it."""
        try:
            return self._index.read(name, limit_bytes)
        except ArchiveError as error:
            raise PlaceError(f"{self.path}: {error}", "make the archive anew") from None

    def close(self) -> None:
        """Close the file; may be called again."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)


def _index_of(parts: PartFiles, path: str, *, follow_links: bool) -> TarIndex:
    compression = compression_of(parts.pread(0, _MAGIC_BYTES))
    if compression is not None:
        what = f"{path} is compressed with {compression}, and is read only where its members lie"
        raise PlaceError(what, f"unpack it first: {compression} -d")
    try:
        return index_tar(parts, follow_links=follow_links)
    except ArchiveError as error:
        raise PlaceError(str(error), "make the archive anew") from None


def compression_of(head: bytes) -> str | None:
    """With what something is compressed that begins with `head`; None where it does not look so."""
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)
