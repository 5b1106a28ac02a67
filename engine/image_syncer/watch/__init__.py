"""Watch: destinations kept in step with their sources, round after round."""

from __future__ import annotations

from image_syncer.watch.local_zone import local_zone
from image_syncer.watch.orders import Cause, WatchOrder
from image_syncer.watch.run import run_watch, tell_webhooks
from image_syncer.watch.schedule import parse_schedule
from image_syncer.watch.settings import WatchSettings
from image_syncer.watch.view import WatchView
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
