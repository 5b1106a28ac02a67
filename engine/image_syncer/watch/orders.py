"""What a watch is asked to do: its settings, the orders for its rounds, and the view that shows them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from image_syncer.config import Configuration, Settings
    from image_syncer.telemetry import ImageResult, Report, Snapshot
    from image_syncer.telemetry.http_server import Listen
    from image_syncer.watch.parts import RuleIndex
    from image_syncer.watch.schedule import Schedule
    from image_syncer.watch.server import PushedRepository
    from image_syncer.watch.webhooks import NotifyWhen, Webhook


class WatchView(Protocol):
    """Shows a watch. Called from the loop, so it must not block."""

    def on_line(self, text: str) -> None:
        """Show something of interest."""

    def on_trouble(self, text: str) -> None:
        """Show a warning."""

    def on_configuration(self, configuration: Configuration) -> None:
        """Show that these files are in force."""

    def on_begin(self, order: WatchOrder) -> None:
        """Show that a run begins."""

    def on_progress(self, snapshot: Snapshot) -> None:
        """See `sync`."""

    def on_image(self, result: ImageResult) -> None:
        """See `sync`."""

    def on_end(self, order: WatchOrder, report: Report | None) -> None:
        """Show that the run has ended, or could not begin (None)."""


DEFAULT_REST = 6
"""An hour, if a round begins every ten minutes."""


class WatchSettings(Value, frozen=True):
    """`schedule` says when rounds begin. A quiet repository is looked at in at least every `rest`-th round (see
    `Activity`). `listen` is the address of the HTTP server, `events_token` the token that notifications need.
    `webhooks` get the summaries of the runs that `notify_when` says.
    """

    schedule: Schedule
    rest: int = DEFAULT_REST
    listen: Listen | None = None
    events_token: str | None = None
    webhooks: tuple[Webhook, ...] = ()
    notify_when: NotifyWhen | None = None


def round_settings(settings: Settings, began: datetime) -> Settings:
    """Return the settings of a run that begins at `began` (UTC), which replaces `{time}` in the name of its report."""
    path = settings.report_path
    if path is None or "{time}" not in path:
        return settings
    return replace(settings, report_path=path.replace("{time}", began.strftime("%Y%m%dT%H%M%S.%fZ")))


COALESCE_S = 1.0
"""A push of one image is several events, and a build pushes several images: pushes within this time share a run."""
MOST_PUSHES = 1000
"""Repositories that are remembered one by one; if there are more, the next round looks at everything."""


class Cause(str, Enum):
    """Why a round begins."""

    SCHEDULE = "schedule"
    NOTIFICATION = "notification"
    RELOAD = "reload"

    __str__ = str.__str__


class WatchOrder(Value, frozen=True):
    """One round over what `configuration` has."""

    cause: Cause
    configuration: Configuration


class Pushes:
    """Repositories with pushes, until a round looks at them. Pure: time is an argument."""

    def __init__(self) -> None:
        self._first_at: float | None = None
        self._repositories: dict[PushedRepository, None] = {}
        self._too_many = False

    def add(self, pushed: Iterable[PushedRepository], now: float) -> None:
        """Note pushes."""
        for each in pushed:
            self._repositories[each] = None
            if self._first_at is None:
                self._first_at = now
        if len(self._repositories) > MOST_PUSHES:
            self._too_many = True
            self._repositories.clear()

    @property
    def due_at(self) -> float | None:
        """When a round over them is due; None: there are none."""
        return None if self._first_at is None else self._first_at + COALESCE_S

    def clear(self) -> None:
        """Forget all of them."""
        self._repositories.clear()
        self._first_at, self._too_many = None, False

    def take(self, configuration: Configuration, index: RuleIndex) -> Configuration:
        """Return the rules about them, and forget them."""
        part = configuration if self._too_many else index.part(self._repositories)
        self.clear()
        return part
