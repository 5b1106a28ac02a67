"""The doors of the engine as the public API has them: a run with its layouts and archives open as long as it lasts."""

from __future__ import annotations

from image_syncer.doors.opened import plan, prune, sync, verify

__all__ = ["plan", "prune", "sync", "verify"]
