"""`sync_async` and its siblings: the doors of the engine for programs that have an event loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from image_syncer.coordinator.async_run import AsyncRun
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.telemetry.events import Event

__all__ = ["plan_async", "prune_async", "sync_async", "verify_async"]


def sync_async(configuration: Configuration, settings: Settings, *, take_signals: bool = False) -> AsyncRun:
    """`sync` beside a running event loop of asyncio or uvloop: to be awaited for the report, or iterated for the
    events; see `AsyncRun`. Any number of runs may go on at the same time.

    With `take_signals`, in the main thread, SIGINT, SIGTERM and SIGHUP end the run as they end the command: once
    gently, twice the process at once. Otherwise they are left to the program.
    """

    def make(on_event: Callable[[Event], None] | None) -> Run:
        return Run(configuration, settings, Listeners(on_event=on_event))

    return AsyncRun(make, take_signals=take_signals)


def plan_async(configuration: Configuration, settings: Settings, *, take_signals: bool = False) -> AsyncRun:
    """`plan` beside a running event loop; see `sync_async`."""
    return sync_async(configuration, replace(settings, dry_run=True), take_signals=take_signals)


def verify_async(
    configuration: Configuration, settings: Settings, *, deep: bool = False, take_signals: bool = False
) -> AsyncRun:
    """`verify` beside a running event loop; see `sync_async`. With `deep` every byte is read."""
    from image_syncer.coordinator.verify_parts import VerifyParts

    def make(on_event: Callable[[Event], None] | None) -> Run:
        parts = partial(VerifyParts, deep=deep)
        return Run(configuration, settings, Listeners(on_event=on_event), parts=parts)

    return AsyncRun(make, take_signals=take_signals)


def prune_async(configuration: Configuration, settings: Settings, *, take_signals: bool = False) -> AsyncRun:
    """`prune` beside a running event loop; see `sync_async`."""
    from image_syncer.coordinator.prune_parts import PruneParts

    def make(on_event: Callable[[Event], None] | None) -> Run:
        return Run(configuration, settings, Listeners(on_event=on_event), parts=PruneParts)

    return AsyncRun(make, take_signals=take_signals)
