"""The entry points of the public API: a run, with its layouts and archives open as long as it lasts."""

from __future__ import annotations

from image_syncer.api.opened import plan, prune, sync, verify

__all__ = ["plan", "prune", "sync", "verify"]
