"""An image layout in a tar archive, read where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.layout.archive_file import ArchiveFile
from image_syncer.layout.index_file import MAX_INDEX_BYTES, IndexFile, check_layout_file
from image_syncer.layout.named_storage import NamedStorage
from image_syncer.layout.place_error import PlaceError

if TYPE_CHECKING:
    from image_syncer.embedded.upload import BlobReader
    from image_syncer.oci import Digest

__all__ = ["OciArchive", "blob_member", "read_layout"]

_LAYOUT_FILE_BYTES = 64 * 1024


class OciArchive(NamedStorage):
    """The layout in the archive at `path`. Raises PlaceError where there is none."""

    def __init__(self, path: str, place: str) -> None:
        self._archive = ArchiveFile(path)
        super().__init__(place, IndexFile(read_layout(self._archive), path))

    def content_size(self, digest: Digest) -> int | None:
        """The size of the blob's member."""
        member = self._archive.index.members.get(blob_member(digest))
        return None if member is None else member.size

    def open_content(self, digest: Digest) -> BlobReader | None:
        """A reader of the blob's member."""
        member = self._archive.index.members.get(blob_member(digest))
        return None if member is None else self._archive.open(member)

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


def blob_member(digest: Digest) -> str:
    """The name of a blob in an archive."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def read_layout(archive: ArchiveFile) -> bytes:
    """The `index.json` of an archive. Raises PlaceError where it holds no layout."""
    has_layout = "oci-layout" in archive.index
    if not has_layout and "manifest.json" in archive.index:
        what = f"{archive.path} is an archive of docker, and no image layout"
        raise PlaceError(what, f"write docker-archive:{archive.path}")
    check_layout_file(archive.read("oci-layout", _LAYOUT_FILE_BYTES) if has_layout else None, archive.path)
    return archive.read("index.json", MAX_INDEX_BYTES)
