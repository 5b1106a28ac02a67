"""What a watch is told beside the settings of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from datetime import datetime

    from image_syncer.config import Settings
    from image_syncer.telemetry.listening import Listen
    from image_syncer.watch.schedule import Schedule
    from image_syncer.watch.webhooks import NotifyWhen, Webhook

__all__ = ["DEFAULT_REST", "WatchSettings", "round_settings"]

DEFAULT_REST = 6
"""Rounds in which a quiet repository is looked at once, at least: an hour, where rounds begin every ten minutes."""


class WatchSettings(Value, frozen=True):
    """`schedule` says when rounds begin, `rest` in how many of them a quiet repository is looked at once at least (see
    `activity`), `listen` where requests are taken, if at all, and `events_token` what those have to know that tell of
    pushes. `webhooks` are told of runs, when `notify_when` says so.
    """

    schedule: Schedule
    rest: int = DEFAULT_REST
    listen: Listen | None = None
    events_token: str | None = None
    webhooks: tuple[Webhook, ...] = ()
    notify_when: NotifyWhen | None = None


def round_settings(settings: Settings, began: datetime) -> Settings:
    """Those of a run that begins at `began` (UTC): `{time}` in the name of its report says so."""
    path = settings.report_path
    if path is None or "{time}" not in path:
        return settings
    return replace(settings, report_path=path.replace("{time}", began.strftime("%Y%m%dT%H%M%S.%fZ")))
