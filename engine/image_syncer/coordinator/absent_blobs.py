"""Blobs of which a registry has just said that it does not have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository

__all__ = ["AbsentBlobs"]

MOST_KEPT = 50_000
"""More than the blobs of all images under way have, as a rule; beyond, all are forgotten, which costs some requests."""


class AbsentBlobs:
    """Each is told once: to the worker that brings the blob, which then need not ask. Whoever tries again asks."""

    def __init__(self) -> None:
        self._absent: set[tuple[Repository, Digest]] = set()

    def add(self, repository: Repository, digest: Digest) -> None:
        """`repository` does not have the blob."""
        if len(self._absent) >= MOST_KEPT:
            self._absent.clear()
        self._absent.add((repository, digest))

    def take(self, repository: Repository, digest: Digest) -> bool:
        """Whether that was said of the blob, and nobody was told yet."""
        key = repository, digest
        if key not in self._absent:
            return False
        self._absent.remove(key)
        return True
