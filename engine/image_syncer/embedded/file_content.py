"""Content in files: an upload that is written into one, and a reader of one, or of a part of one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from image_syncer.embedded.upload import BlobReader, Upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["FileReader", "FileUpload"]

_PIECE_BYTES = 2**20
_IOV_MAX = 1024  # buffers in one writev; POSIX guarantees 16, Linux and macOS have 1024


class FileUpload(Upload):
    """Bytes that go into the open file `descriptor`, which this closes.

    With `sync_every`, they are on the disk that many bytes at a time, so that the last of them need not wait for all
    (fdatasync(2)).
    """

    def __init__(self, repository: str, descriptor: int, sync_every: int | None = None) -> None:
        super().__init__(repository)
        self._fd = descriptor
        self._sync_every = sync_every
        self._unsynced = 0

    def kept(self) -> Iterable[bytes]:
        """The bytes so far, in pieces."""
        offset = 0
        while piece := os.pread(self._fd, _PIECE_BYTES, offset):
            yield piece
            offset += len(piece)

    def sync(self) -> None:
        """All bytes are on the disk afterwards."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _keep(self, pieces: Sequence[bytes]) -> None:
        views = [memoryview(piece) for piece in pieces if piece]
        self._unsynced += sum(map(len, views))
        while views:
            written = os.writev(self._fd, views[:_IOV_MAX])
            while written:
                taken = min(written, len(views[0]))
                written -= taken
                views[0] = views[0][taken:]
                if not views[0]:
                    del views[0]
        if self._sync_every is not None and self._unsynced >= self._sync_every:
            self._unsynced = 0
            os.fdatasync(self._fd)

    def __del__(self) -> None:
        self.close()


class FileReader(BlobReader):
    """Reads the open file `descriptor`, which this closes: from `begin` so many bytes, or all of it."""

    def __init__(self, descriptor: int, begin: int = 0, size: int | None = None) -> None:
        self.file = os.fdopen(descriptor, "rb", buffering=0)
        self.file_begin = begin
        self.size = os.fstat(descriptor).st_size - begin if size is None else size

    def read(self, offset: int, limit: int) -> bytes | memoryview:
        """At most `limit` bytes from `offset`."""
        assert self.file is not None
        limit = max(0, min(limit, self.size - offset))
        return os.pread(self.file.fileno(), limit, self.file_begin + offset)

    def close(self) -> None:
        """Close the file."""
        assert self.file is not None
        self.file.close()
