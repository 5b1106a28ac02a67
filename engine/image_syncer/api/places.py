"""Which runs write in layouts and archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.config import Settings

__all__ = ["deletes", "writes_nothing", "writes_unless_dry"]


def writes_unless_dry(settings: Settings) -> bool:
    """A sync."""
    return not settings.dry_run


def writes_nothing(_settings: Settings) -> bool:
    """A look."""
    return False


def deletes(settings: Settings) -> bool:
    """A prune, which only looks where it is not told to delete."""
    return settings.pruning is not None and settings.pruning.delete
