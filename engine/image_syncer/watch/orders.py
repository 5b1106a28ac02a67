"""What is to be done next, and why: by the schedule, by notifications, or because the files have changed."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config import Configuration
    from image_syncer.watch.events import PushedRepository
    from image_syncer.watch.parts import RuleIndex

__all__ = ["Cause", "Pushes", "WatchOrder"]

COALESCE_S = 1.0
"""A push of one image is several events, and a build pushes several images: what comes so soon after the first one is
looked at in one run.
"""
MOST_PUSHES = 1000
"""Repositories that are remembered one by one; when there are more, everything is looked at."""


class Cause(str, Enum):
    """Why a round begins."""

    SCHEDULE = "schedule"
    NOTIFICATION = "notification"
    RELOAD = "reload"

    def __str__(self) -> str:
        return self.value


class WatchOrder(Value, frozen=True):
    """One round: `configuration` has what is looked at in it."""

    cause: Cause
    configuration: Configuration


class Pushes:
    """Repositories to which something was pushed, until somebody looks there. Pure: time comes in as an argument."""

    def __init__(self) -> None:
        self._first_at: float | None = None
        self._repositories: dict[PushedRepository, None] = {}
        self._too_many = False

    def add(self, pushed: Iterable[PushedRepository], now: float) -> None:
        """Something was pushed there."""
        for each in pushed:
            self._repositories[each] = None
            if self._first_at is None:
                self._first_at = now
        if len(self._repositories) > MOST_PUSHES:
            self._too_many = True
            self._repositories.clear()

    @property
    def due_at(self) -> float | None:
        """From when on they are looked at; None: there are none."""
        return None if self._first_at is None else self._first_at + COALESCE_S

    def clear(self) -> None:
        """All of them are about to be looked at."""
        self._repositories.clear()
        self._first_at, self._too_many = None, False

    def take(self, configuration: Configuration, index: RuleIndex) -> Configuration:
        """The rules about them, as the files are now; there is nothing left then."""
        part = configuration if self._too_many else index.part(self._repositories)
        self.clear()
        return part
