"""Reporting: what is read from the files that runs write, and what is made of it for people and other programs."""

from __future__ import annotations

__all__: list[str] = []
