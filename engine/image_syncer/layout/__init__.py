"""Layout: images in files. Archives, without unpacking them."""

from __future__ import annotations

from image_syncer.layout.tar_parts import ArchiveError

__all__ = ["ArchiveError"]
