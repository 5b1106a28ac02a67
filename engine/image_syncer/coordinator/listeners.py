"""Who is told of a run while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.telemetry import ImageResult, Snapshot
    from image_syncer.telemetry.events import Event

__all__ = ["Listeners"]


class Listeners(Value, frozen=True):
    """The callbacks that the entry points take: see `sync`. None: not wanted. They are called from the run's loop, and
    must not block.
    """

    on_progress: Callable[[Snapshot], None] | None = None
    on_image: Callable[[ImageResult], None] | None = None
    on_event: Callable[[Event], None] | None = None
