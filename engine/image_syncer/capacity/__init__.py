"""Capacity: how long work takes, from measured costs and a simulation. Pure: time and chance come in as arguments."""

from __future__ import annotations

__all__: list[str] = []
