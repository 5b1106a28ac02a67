"""Image layouts in directories and archives, served to a run as registries.

`open_places` is the entry point. Each layout is opened in its own process, as a storage of the embedded registry, and
reached over a Unix socket. Archives are read without unpacking.
"""

from __future__ import annotations

from image_syncer.layout.locations import open_places

__all__ = ["open_places"]
