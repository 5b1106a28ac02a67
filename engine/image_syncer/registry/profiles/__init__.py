"""Profiles: the properties of each kind of registry, one file for each."""

from __future__ import annotations

__all__: list[str] = []
