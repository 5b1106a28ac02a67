"""Watch: destinations kept in step with their sources, round after round."""

from __future__ import annotations

from image_syncer.watch.orders import Cause, WatchOrder, WatchSettings, WatchView
from image_syncer.watch.schedule import local_zone, parse_schedule
from image_syncer.watch.watcher import run_watch, tell_webhooks
from image_syncer.watch.webhooks import NotifyWhen, Webhook, parse_webhook, parse_webhook_file

__all__ = [
    "Cause",
    "NotifyWhen",
    "WatchOrder",
    "WatchSettings",
    "WatchView",
    "Webhook",
    "local_zone",
    "parse_schedule",
    "parse_webhook",
    "parse_webhook_file",
    "run_watch",
    "tell_webhooks",
]
