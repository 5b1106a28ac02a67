"""The entry points of the public API for threads: those of `runs`, with the layouts of the configuration open."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeVar, cast

from image_syncer import runs
from image_syncer.coordinator.run import refuse_running_loop
from image_syncer.layout import open_places

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from image_syncer.config import Configuration, Settings
    from image_syncer.telemetry import Report


_Api = TypeVar("_Api", bound="Callable[..., Report]")


def deletes(settings: Settings) -> bool:
    """Return whether a prune deletes."""
    return settings.pruning is not None and settings.pruning.delete


def _with_places(function: _Api, writes: Callable[[Settings], bool]) -> _Api:
    """Return `function` with layouts and archives open while it runs, for writing if `writes(settings)`."""

    @wraps(function)
    def opened_function(configuration: Configuration, settings: Settings, **more: Any) -> Report:
        refuse_running_loop()  # before a process is started for nothing
        with open_places(configuration, writes=writes(settings)) as opened:
            return function(opened, settings, **more)

    return cast("_Api", opened_function)


sync = _with_places(runs.sync, lambda settings: not settings.dry_run)
plan = _with_places(runs.plan, lambda _settings: False)
verify = _with_places(runs.verify, lambda _settings: False)
prune = _with_places(runs.prune, deletes)
