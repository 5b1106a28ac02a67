"""Credentials that a cloud gives out for its own registry, for some hours at a time.

The SDKs are extras; they are imported where they are asked, and never in a worker.
"""

from __future__ import annotations

from image_syncer.credentials.clouds.place import CloudPlace, find_place
from image_syncer.credentials.clouds.source import CloudSource

__all__ = ["CloudPlace", "CloudSource", "find_place"]
