"""Pruning: deletes at destinations what no rule selects any more, after a sync or in a run of its own."""

from __future__ import annotations

__all__: list[str] = []
