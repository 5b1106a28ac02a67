"""`sync`, `plan`, `verify` and `prune`: the entry points of the engine. `sync_async` has those for a running loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.loop import run_in_loop
from image_syncer.coordinator.run import Run
from image_syncer.coordinator.worker_processes import local_processes
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.control import RunControl
    from image_syncer.telemetry import ImageResult, Report, Snapshot
    from image_syncer.telemetry.events import Event

__all__ = ["plan", "prune", "sync", "verify"]


def sync(
    configuration: Configuration,
    settings: Settings,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    control: RunControl | None = None,
) -> Report:
    """Copy what the rules name; returns when every image has an outcome.

    Runs a loop of its own in the calling thread. In the main thread SIGINT and SIGTERM end the run early, and the
    report says so. `on_progress` is called every `settings.progress_interval_s` seconds, `on_image` for each image that
    ends, `on_event` for both and for all else that the run tells, all from the loop: they must not block. By
    `control` the run is paused, drained and otherwise changed while it goes on. Raises ConfigurationError where the run
    cannot begin; what befalls an image is in the report. In a running event loop use `sync_async`.
    """
    listeners = Listeners(on_progress, on_image, on_event)
    with local_processes(wanted=not settings.dry_run) as workers:
        return _carry_out(lambda: Run(configuration, settings, listeners, control=control, workers=workers))


def plan(
    configuration: Configuration,
    settings: Settings,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Report:
    """What `sync` would copy, with bytes; reads manifests, starts no worker and changes nothing."""
    return sync(
        configuration, replace(settings, dry_run=True), on_progress=on_progress, on_image=on_image, on_event=on_event
    )


def verify(
    configuration: Configuration,
    settings: Settings,
    *,
    deep: bool = False,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Report:
    """Compare what the rules name with what is at its destinations now; writes nothing, and starts no worker.

    Looked at are tags and digests, every manifest under them (its bytes are hashed), and every blob: by a HEAD, or with
    `deep` by reading and hashing all its bytes. Images end as equal, different (`ImageResult.differences`), not checked
    (`ImageResult.error`), skipped or not tried. For the rest see `sync`.
    """
    from image_syncer.coordinator.verify_parts import VerifyParts

    listeners = Listeners(on_progress, on_image, on_event)
    return _carry_out(lambda: Run(configuration, settings, listeners, parts=partial(VerifyParts, deep=deep)))


def prune(
    configuration: Configuration,
    settings: Settings,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Report:
    """Delete at destinations what no rule selects any more, as `settings.pruning` says; copies nothing.

    Without its `delete`, what would go is in `Report.pruned`, and nothing is deleted. Images end as selected, failed,
    skipped or not tried. For the rest see `sync`, which does the same after a sync.
    """
    from image_syncer.coordinator.prune_parts import PruneParts

    listeners = Listeners(on_progress, on_image, on_event)
    return _carry_out(lambda: Run(configuration, settings, listeners, parts=PruneParts))


def _carry_out(make: Callable[[], Run]) -> Report:
    async def execute() -> Report:
        return await make().execute()

    return run_in_loop(execute())
