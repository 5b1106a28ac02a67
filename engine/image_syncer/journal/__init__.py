"""The journal: what a run has done so far, in a file that outlives it, so that the next run goes on from there."""

from __future__ import annotations

__all__: list[str] = []
