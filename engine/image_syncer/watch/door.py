"""`run_watch`: the door of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.coordinator.loop import run_in_loop
from image_syncer.telemetry.metrics import RunMetrics, metrics_are_there
from image_syncer.watch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.watch.settings import WatchSettings
    from image_syncer.watch.watcher import WatchView

__all__ = ["run_watch"]


def run_watch(
    load: Callable[[], Configuration],
    settings: Settings,
    watch: WatchSettings,
    *,
    view: WatchView,
    version: str,
) -> int:
    """Keep destinations in step with their sources until a signal says that it is enough; returns the exit code.

    `load` reads the files: now, and on each SIGHUP. Takes SIGTERM, SIGINT and SIGHUP, so it has to be called in the
    main thread. Raises ConfigurationError where it cannot begin.
    """
    metrics = RunMetrics(version) if metrics_are_there() else None

    async def run() -> int:
        return await Watcher(load, settings, watch, view=view, metrics=metrics).run()

    return run_in_loop(run())
