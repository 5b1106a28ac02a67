"""Worker: the process that copies blobs, and its messages to and from the coordinator."""

from __future__ import annotations

__all__: list[str] = []
