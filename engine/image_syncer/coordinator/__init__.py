"""Coordinator: discovery, supervision of the workers, publishing, and the ledger of every image."""

from __future__ import annotations

from image_syncer.coordinator.sync import plan, prune, sync, verify

__all__ = ["plan", "prune", "sync", "verify"]
