"""An archive that may lie in several files, read as one."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["ArchiveError", "PartFiles"]

_OPEN_FILES = 64  # a bundle of many terabytes has more parts than a process may open files


class ArchiveError(SyncError):
    """An archive, or a bundle of archives, cannot be used: it is damaged, not whole, or made to do harm."""

    kind = "archive"


class PartFiles:
    """Files in their order, as the bytes of one. For one thread at a time.

    Raises OSError where a file cannot be opened; their sizes are taken once, at the begin.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.paths = tuple(map(Path, paths))
        self._begins: list[int] = []
        self._open: OrderedDict[int, int] = OrderedDict()
        self.size = 0
        """Bytes of all files together."""
        for path in self.paths:
            self._begins.append(self.size)
            self.size += path.stat().st_size

    def pread(self, offset: int, size_bytes: int) -> bytes:
        """The bytes from `offset` on: as many as asked for, fewer only at the end of the last file."""
        pieces = []
        while size_bytes > 0 and 0 <= offset < self.size:
            piece = self.pread_some(offset, size_bytes)
            if not piece:
                break  # the file was cut behind our back: the caller finds that bytes are missing
            pieces.append(piece)
            offset += len(piece)
            size_bytes -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pread_some(self, offset: int, limit_bytes: int) -> bytes:
        """At least one and at most `limit_bytes` from `offset`, of one file; nothing at the end."""
        if not 0 <= offset < self.size:
            return b""
        position = bisect_right(self._begins, offset) - 1
        end = self._begins[position + 1] if position + 1 < len(self._begins) else self.size
        begin = self._begins[position]
        return os.pread(self._file(position), min(limit_bytes, end - offset), offset - begin)

    def close(self) -> None:
        """Close the files; they are opened again where more is read."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __enter__(self) -> PartFiles:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _file(self, position: int) -> int:
        found = self._open.get(position)
        if found is None:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            found = self._open[position] = os.open(self.paths[position], os.O_RDONLY | os.O_CLOEXEC)
        else:
            self._open.move_to_end(position)
        return found
