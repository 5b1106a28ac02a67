"""Progress: told to whoever watches the run, and to the journal."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING

from image_syncer.coordinator.crash import crash_words
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.coordinator.journal import Journal
    from image_syncer.telemetry import Snapshot

__all__ = ["Progress"]

_log = get_logger(__name__)


class Progress:
    """Tells the snapshots that `take(now)` makes, at loop time `now`; a listener that fails is told nothing more."""

    def __init__(
        self,
        take: Callable[[float], Snapshot],
        on_progress: Callable[[Snapshot], None] | None,
        journal: Journal | None,
    ) -> None:
        self._take = take
        self._on_progress = on_progress
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self.warnings: list[str] = []

    def tell(self) -> None:
        """What is so now; the journal hears of it as often as it wants to."""
        due = self._journal is not None and self._journal.is_due(self._loop.time())
        if self._on_progress is None and not due:
            return
        snapshot = self._take(self._loop.time())
        if self._journal is not None and due:
            self._journal.note_progress(snapshot)
        if self._on_progress is None:
            return
        try:
            self._on_progress(snapshot)
        except Exception as error:  # noqa: BLE001 - a run is worth more than its display
            self._on_progress = None
            self.warnings.append(f"progress could not be shown any more: {crash_words(error)}")
            _log.debug("progress cannot be shown any more", traceback=traceback.format_exc())

    def note_end(self, ended: str) -> None:
        """The last that the journal hears: how the run ended."""
        if self._journal is not None:
            self._journal.note_progress(self._take(self._loop.time()), ended=ended)
