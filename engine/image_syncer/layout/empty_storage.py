"""A place that is not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.layout.index_file import IndexFile
from image_syncer.layout.named_storage import NamedStorage

if TYPE_CHECKING:
    from image_syncer.embedded.upload import BlobReader
    from image_syncer.oci import Digest

__all__ = ["EmptyStorage"]


class EmptyStorage(NamedStorage):
    """Has nothing, and takes nothing: what a plan looks at where a copy would make the place."""

    def __init__(self, place: str) -> None:
        super().__init__(place, IndexFile(None, place))

    def content_size(self, digest: Digest) -> int | None:  # noqa: ARG002
        """None."""
        return None

    def open_content(self, digest: Digest) -> BlobReader | None:  # noqa: ARG002
        """None."""
        return None
