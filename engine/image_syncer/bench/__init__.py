"""Bench: what this host and a path between registries can do, measured by runs of the engine itself."""

from __future__ import annotations

__all__: list[str] = []
