"""An image layout in a tar archive that is written: what comes is kept in a layout beside it, and packed at the end.

An archive that exists is what is there already, and keeps all that it has: the new one takes its place when it is whole
and on the disk, so that no moment has a half one. What a killed run had brought lies in the layout beside it, and the
next run goes on with that.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.layout.archive_file import ArchiveFile
from image_syncer.layout.index_file import IndexFile
from image_syncer.layout.layout_storage import LAYOUT_FILE, LayoutStorage
from image_syncer.layout.oci_archive import blob_member, read_layout
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.tar_parts import ArchiveError
from image_syncer.layout.tar_writer import TarWriter, partial_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.embedded.upload import BlobReader
    from image_syncer.oci import Digest

__all__ = ["WrittenArchive", "staging_path"]

_PIECE_BYTES = 2**20
_LAYOUT_MEMBERS = ("oci-layout", "index.json")


def staging_path(path: str) -> str:
    """The directory beside an archive in which its layout is until it is packed."""
    return f"{path}.unpacked"


class WrittenArchive(LayoutStorage):
    """The archive at `path`. Raises PlaceError where it cannot be used."""

    def __init__(self, path: str, place: str) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise PlaceError(f"there is no directory {self._path.parent}", "make it first")
        self._former = ArchiveFile(path) if self._path.exists() else None
        self._goes_on = False
        super().__init__(staging_path(path), writes=True, place=place)

    def _read_index(self) -> IndexFile:
        former = None if self._former is None else IndexFile(read_layout(self._former), str(self._path))
        staged = super()._read_index()
        self._goes_on = bool(staged.descriptors)
        return staged if former is None or self._goes_on else former

    # Content

    def content_size(self, digest: Digest) -> int | None:
        """The size of a blob that came, or that the archive has."""
        staged = super().content_size(digest)
        if staged is not None or self._former is None:
            return staged
        member = self._former.index.members.get(blob_member(digest))
        return None if member is None else member.size

    def open_content(self, digest: Digest) -> BlobReader | None:
        """A reader of the same."""
        staged = super().open_content(digest)
        if staged is not None or self._former is None:
            return staged
        member = self._former.index.members.get(blob_member(digest))
        return None if member is None else self._former.open(member)

    # The archive

    def finish(self) -> None:
        """Pack what came, if anything did. Raises PlaceError where that cannot be done; then what came stays."""
        self.enter_loose()
        if self.index.descriptors and (self._goes_on or self.has_changed):
            writer = TarWriter(lambda _number: self._path)
            try:
                packed = self._pack(writer)
                writer.finish()
            except (OSError, ArchiveError) as error:
                with suppress(OSError):  # what is still in its buffer finds no room either
                    writer.close()
                with suppress(OSError):
                    partial_path(self._path).unlink()
                why = str(error) if isinstance(error, ArchiveError) else error.strerror
                mend = f"what came is in {self._files.root}, and the next run goes on with it"
                raise PlaceError(f"{self._path} could not be written: {why}", mend) from None
            for digest in packed:
                self._files.drop_blob(digest)
            self._files.replace_top("index.json", IndexFile(None, "").to_bytes())
            self._saved_changes = self._changes

    def close(self) -> None:
        """Take the layout away that lies beside the archive, unless there is something in it that is still needed."""
        super().close()
        if self._former is not None:
            self._former.close()
        root = Path(self._files.root)
        if IndexFile(_read(root / "index.json"), "").descriptors or any((root / "blobs").rglob("?" * 64)):
            return
        for name in _LAYOUT_MEMBERS:
            (root / name).unlink(missing_ok=True)
        for directory in (root / "blobs/sha256", root / "blobs/sha512", root / "blobs", root):
            with suppress(OSError):
                directory.rmdir()

    def _pack(self, writer: TarWriter) -> list[Digest]:
        """Write every member, and return the blobs that came."""
        writer.append_bytes("oci-layout", LAYOUT_FILE)
        writer.append_bytes("index.json", self.index.to_bytes())
        packed = list(self._needed())
        for digest in packed:
            descriptor = self._files.open_blob(digest)
            assert descriptor is not None
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                writer.append_file(blob_member(digest), file, self._files.blob_size(digest) or 0)
        there = {*_LAYOUT_MEMBERS, *map(blob_member, packed)}
        for name, member in () if self._former is None else self._former.index.members.items():
            if name not in there:
                assert self._former is not None
                reader = self._former.open(member)
                assert reader.file is not None
                reader.file.seek(reader.file_begin)
                try:
                    writer.append_file(name, reader.file, member.size)
                finally:
                    reader.close()
        return packed

    def _needed(self) -> Iterator[Digest]:
        """What came and something names, sorted."""
        named: set[Digest] = set()
        for digest in self._names():
            parsed = self._parse(digest, "")
            named.add(digest)
            if parsed is not None:
                named.update(blob.digest for blob in parsed.named_blobs)
        for digest in sorted(named):
            if self._files.blob_size(digest) is not None:
                yield digest


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
