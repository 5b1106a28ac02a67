"""Coordinator: discovery, supervision of the workers, publishing, and the ledger of every image."""

from __future__ import annotations

__all__: list[str] = []
