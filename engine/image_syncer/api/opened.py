"""The synchronous entry points: those of the coordinator, which knows no layouts and archives, with these open."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeVar, cast

from image_syncer.api.places import deletes, writes_nothing, writes_unless_dry
from image_syncer.coordinator import plan as _plan
from image_syncer.coordinator import prune as _prune
from image_syncer.coordinator import sync as _sync
from image_syncer.coordinator import verify as _verify
from image_syncer.coordinator.loop import refuse_running_loop
from image_syncer.layout import open_places

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from image_syncer.config import Configuration, Settings
    from image_syncer.telemetry import Report

__all__ = ["plan", "prune", "sync", "verify"]

_Door = TypeVar("_Door", bound="Callable[..., Report]")


def _with_places(door: _Door, writes: Callable[[Settings], bool]) -> _Door:
    """The same door, whose places are open as long as it is gone through. `writes`: whether they are written to."""

    @wraps(door)
    def opened_function(configuration: Configuration, settings: Settings, **more: Any) -> Report:
        refuse_running_loop()  # before a process is started for nothing
        with open_places(configuration, writes=writes(settings)) as opened:
            return door(opened, settings, **more)

    return cast("_Door", opened_function)


sync = _with_places(_sync, writes_unless_dry)
plan = _with_places(_plan, writes_nothing)
verify = _with_places(_verify, writes_nothing)
prune = _with_places(_prune, deletes)
