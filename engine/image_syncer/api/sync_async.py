"""`sync_async` and its siblings: the entry points for programs that have an event loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from image_syncer.api.places import deletes, writes_nothing, writes_unless_dry
from image_syncer.coordinator.async_run import AsyncRun
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run import Run
from image_syncer.layout import open_places
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.control import RunControl
    from image_syncer.telemetry.events import Event

__all__ = ["plan_async", "prune_async", "sync_async", "verify_async"]


def sync_async(
    configuration: Configuration,
    settings: Settings,
    *,
    take_signals: bool = False,
    control: RunControl | None = None,
) -> AsyncRun:
    """`sync` beside a running event loop of asyncio or uvloop: to be awaited for the report, or iterated for the
    events; see `AsyncRun`. Any number of runs may go on at the same time, each with a `control` of its own: by that it
    is paused, drained and otherwise changed from any thread, and from the loop.

    With `take_signals`, in the main thread, SIGINT, SIGTERM and SIGHUP end the run as they end the command: once
    gently, twice the process at once. Otherwise they are left to the program.
    """

    def make(opened: Configuration, on_event: Callable[[Event], None] | None) -> Run:
        return Run(opened, settings, Listeners(on_event=on_event), control=control)

    return _begin(make, configuration, writes=writes_unless_dry(settings), take_signals=take_signals)


def plan_async(configuration: Configuration, settings: Settings, *, take_signals: bool = False) -> AsyncRun:
    """`plan` beside a running event loop; see `sync_async`."""
    return sync_async(configuration, replace(settings, dry_run=True), take_signals=take_signals)


def verify_async(
    configuration: Configuration, settings: Settings, *, deep: bool = False, take_signals: bool = False
) -> AsyncRun:
    """`verify` beside a running event loop; see `sync_async`. With `deep` every byte is read."""
    from image_syncer.coordinator.verify_parts import VerifyParts

    def make(opened: Configuration, on_event: Callable[[Event], None] | None) -> Run:
        parts = partial(VerifyParts, deep=deep)
        return Run(opened, settings, Listeners(on_event=on_event), parts=parts)

    return _begin(make, configuration, writes=writes_nothing(settings), take_signals=take_signals)


def prune_async(configuration: Configuration, settings: Settings, *, take_signals: bool = False) -> AsyncRun:
    """`prune` beside a running event loop; see `sync_async`."""
    from image_syncer.coordinator.prune_parts import PruneParts

    def make(opened: Configuration, on_event: Callable[[Event], None] | None) -> Run:
        return Run(opened, settings, Listeners(on_event=on_event), parts=PruneParts)

    return _begin(make, configuration, writes=deletes(settings), take_signals=take_signals)


def _begin(
    make: Callable[[Configuration, Callable[[Event], None] | None], Run],
    configuration: Configuration,
    *,
    writes: bool,
    take_signals: bool,
) -> AsyncRun:
    return AsyncRun(make, partial(open_places, configuration, writes=writes), take_signals=take_signals)
