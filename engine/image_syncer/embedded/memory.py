"""Content in memory: for tests, demos and small benchmarks."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from image_syncer.embedded.catalogue_storage import CatalogueStorage
from image_syncer.embedded.upload import BlobReader, Upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.embedded.catalogue import StoredManifest
    from image_syncer.oci import Digest

__all__ = ["MemoryStorage"]

_SMALL_PIECE_BYTES = 16 * 1024  # pieces that are smaller on average are joined: each costs an object and a write


class MemoryStorage(CatalogueStorage):
    """Keeps everything in memory, in the pieces in which it came: nothing is copied on the way in or out."""

    def __init__(self) -> None:
        super().__init__()
        self._content: dict[Digest, _Pieces] = {}

    def _new_upload(self, repository: str) -> Upload:
        return _MemoryUpload(repository)

    def _drop_upload(self, upload: Upload) -> None:
        assert isinstance(upload, _MemoryUpload)
        upload.pieces = _Pieces()

    def _keep_upload(self, upload: Upload, digest: Digest) -> None:
        assert isinstance(upload, _MemoryUpload)
        self._content[digest] = upload.pieces

    def _open(self, digest: Digest) -> BlobReader:
        return _MemoryReader(self._content[digest])

    def _read(self, digest: Digest) -> bytes:
        return b"".join(self._content[digest].pieces)

    def _write(self, digest: Digest, raw: bytes) -> None:
        pieces = _Pieces()
        pieces.add((raw,))
        self._content[digest] = pieces

    def _drop(self, digest: Digest) -> None:
        del self._content[digest]

    def _record_repository(self, name: str) -> None:
        """Nothing: nothing outlives the process."""

    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:
        """Nothing: nothing outlives the process."""

    def _forget(self, repository: str, noun: str, name: str) -> None:
        """Nothing: nothing outlives the process."""


class _Pieces:
    """Bytes in pieces; `ends[i]` is the offset at which piece i ends."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[int] = []
        self.size = 0

    def add(self, pieces: Sequence[bytes]) -> None:
        if len(pieces) > 1 and sum(map(len, pieces)) < _SMALL_PIECE_BYTES * len(pieces):
            pieces = (b"".join(pieces),)
        for piece in pieces:
            if piece:
                self.pieces.append(piece)
                self.size += len(piece)
                self.ends.append(self.size)


class _MemoryUpload(Upload):
    def __init__(self, repository: str) -> None:
        super().__init__(repository)
        self.pieces = _Pieces()

    def kept(self) -> Iterable[bytes]:
        return self.pieces.pieces

    def _keep(self, pieces: Sequence[bytes]) -> None:
        self.pieces.add(pieces)


class _MemoryReader(BlobReader):
    def __init__(self, content: _Pieces) -> None:
        self.size = content.size
        self._content = content

    def read(self, offset: int, limit: int) -> bytes | memoryview:
        index = bisect_right(self._content.ends, offset)
        if index == len(self._content.pieces):
            return b""
        piece = self._content.pieces[index]
        begin = offset - (self._content.ends[index] - len(piece))
        if begin == 0 and len(piece) <= limit:
            return piece
        return memoryview(piece)[begin : begin + limit]
