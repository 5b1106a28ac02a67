"""Worker: one process that moves blobs. Messages in, pipes run, messages out."""

from __future__ import annotations

__all__: list[str] = []
