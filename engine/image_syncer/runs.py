"""`sync`, `plan`, `verify` and `prune`: the entry points of the engine. `sync_async` has those for a running loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run import Run, run_in_loop
from image_syncer.coordinator.run_parts import RunParts
from image_syncer.dispatch.worker_processes import local_processes
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.control.run_control import RunControl
    from image_syncer.coordinator.context import RunContext
    from image_syncer.coordinator.image_delivery import DestinationCheck
    from image_syncer.coordinator.run_parts import RunPruner
    from image_syncer.dispatch.supervisor import WorkerSource
    from image_syncer.scheduling import RetryPolicies
    from image_syncer.telemetry import ImageResult, Report, Snapshot
    from image_syncer.telemetry.events import Event


class SyncParts(RunParts):
    """The parts of a run that copies; what verifies and prunes is imported by the runs that do."""

    def _new_pruner(self) -> RunPruner | None:
        if self._settings.pruning is None:
            return None
        from image_syncer.pruning.pruner import Pruner

        return Pruner(self._configuration, self._settings.pruning, dry_run=self._settings.dry_run)

    def _new_check(self, context: RunContext, _policies: RetryPolicies) -> DestinationCheck | None:
        if not self._settings.verify:
            return None
        from image_syncer.verification.tree_check import TreeCheck

        return TreeCheck(context)


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
    ends, `on_event` for both and for all other events of the run, all from the loop: they must not block. By
    `control` the run is paused, drained and otherwise changed while it runs. Raises ConfigurationError where the run
    cannot begin; the report has the errors of images. In a running event loop use `sync_async`.
    """
    listeners = Listeners(on_progress, on_image, on_event)
    with local_processes(wanted=not settings.dry_run) as workers:
        return run_in_loop(_execute(configuration, settings, listeners, SyncParts, control, workers))


def plan(
    configuration: Configuration,
    settings: Settings,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Report:
    """Report what `sync` would copy, with bytes; reads manifests, starts no worker and changes nothing."""
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

    It checks tags and digests, every manifest under them (its bytes are hashed), and every blob: by a HEAD, or with
    `deep` by reading and hashing all its bytes. Images end as equal, different (`ImageResult.differences`), not checked
    (`ImageResult.error`), skipped or not tried. For the rest see `sync`.
    """
    from image_syncer.verification.parts import VerifyParts

    listeners = Listeners(on_progress, on_image, on_event)
    return run_in_loop(_execute(configuration, settings, listeners, partial(VerifyParts, deep=deep)))


def prune(
    configuration: Configuration,
    settings: Settings,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Report:
    """Delete at destinations what no rule selects any more, as `settings.pruning` says; copies nothing.

    Without its `delete`, what would be deleted is in `Report.pruned`, and nothing is deleted. Images end as selected,
    failed, skipped or not tried. For the rest see `sync`, which does the same after a sync.
    """
    from image_syncer.pruning.pruner import PruneParts

    listeners = Listeners(on_progress, on_image, on_event)
    return run_in_loop(_execute(configuration, settings, listeners, PruneParts))


async def _execute(
    configuration: Configuration,
    settings: Settings,
    listeners: Listeners,
    parts: Callable[..., RunParts],
    control: RunControl | None = None,
    workers: WorkerSource | None = None,
) -> Report:
    return await Run(configuration, settings, listeners, parts=parts, control=control, workers=workers).execute()
