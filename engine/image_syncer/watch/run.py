"""`run_watch` and `tell_webhooks`: the entry points of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from image_syncer.coordinator.loop import run_in_loop
from image_syncer.telemetry.metrics import RunMetrics, metrics_are_there
from image_syncer.watch.watcher import Watcher
from image_syncer.watch.webhook_post import WebhookPoster
from image_syncer.watch.webhooks import is_wanted, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.control import RunControl
    from image_syncer.telemetry import Report
    from image_syncer.watch.settings import WatchSettings
    from image_syncer.watch.view import WatchView
    from image_syncer.watch.webhooks import NotifyWhen, Webhook

__all__ = ["run_watch", "tell_webhooks"]

ALONE_S = 45.0
"""Time for every try of a webhook that does not answer, with the pauses."""


def run_watch(
    load: Callable[[], Configuration],
    settings: Settings,
    watch: WatchSettings,
    *,
    view: WatchView,
    version: str,
    control: RunControl | None = None,
) -> int:
    """Keep destinations in step with their sources until a signal says that it is enough; returns the exit code.

    `load` reads the files: now, and on each SIGHUP. Takes SIGTERM, SIGINT and SIGHUP, so it has to be called in the
    main thread. By `control` the round that is under way and those after it are paused and otherwise changed; drained,
    it ends with that round. Raises ConfigurationError where it cannot begin.
    """
    metrics = RunMetrics(version) if metrics_are_there() else None

    async def run() -> int:
        return await Watcher(load, settings, watch, view=view, metrics=metrics, control=control).run()

    return run_in_loop(run())


def tell_webhooks(report: Report, webhooks: Sequence[Webhook], when: NotifyWhen) -> None:
    """Post the summary of a single run, and wait for that (`ALONE_S` at most). Whether it was taken is in the log."""
    if not is_wanted(when, report, None):
        return

    async def run() -> None:
        poster = WebhookPoster(webhooks)
        poster.post(orjson.dumps(summary_of(report, cause="command", round_number=1)))
        await poster.close(ALONE_S)

    run_in_loop(run())
