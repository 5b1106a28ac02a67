"""Resumes: how often the sides of transfers broke off and went on, for the report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.worker.messages import SideBroke

__all__ = ["Resumes"]


class Resumes:
    """Counts over a run, by side; of them, those in which the side was idle because it waited for the other."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, broke: SideBroke) -> None:
        """One side of a transfer broke off, and goes on."""
        self._counts["source" if broke.target is None else "destination"] += 1
        self._counts["while idle"] += broke.idle

    def as_data(self) -> dict[str, int]:
        """For the report: "source", "destination", and "while idle" of both."""
        return {name: self._counts[name] for name in ("source", "destination", "while idle")}
