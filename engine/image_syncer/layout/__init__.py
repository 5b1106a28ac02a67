"""Places that are no registry: image layouts in directories, and archives, served to a run as registries of their own.

`open_places` is the entry point. A place is opened in a process of its own, as a storage of the embedded registry, and
reached over a Unix socket; what is copied between registries opens none. Archives are read without unpacking them.
"""

from __future__ import annotations

from image_syncer.layout.places import open_places

__all__ = ["open_places"]
