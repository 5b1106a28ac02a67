"""Who looks on at a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from image_syncer.config import Configuration
    from image_syncer.telemetry import ImageResult, Report, Snapshot
    from image_syncer.watch.orders import WatchOrder

__all__ = ["WatchView"]


class WatchView(Protocol):
    """Those who look on. They are called from the loop, and must not block."""

    def on_line(self, text: str) -> None:
        """Something happened that people like to know."""

    def on_trouble(self, text: str) -> None:
        """Something happened that people should know."""

    def on_configuration(self, configuration: Configuration) -> None:
        """These files are in force from now on."""

    def on_begin(self, order: WatchOrder) -> None:
        """A run begins."""

    def on_progress(self, snapshot: Snapshot) -> None:
        """As of `sync`."""

    def on_image(self, result: ImageResult) -> None:
        """As of `sync`."""

    def on_end(self, order: WatchOrder, report: Report | None) -> None:
        """The run that was begun has ended, or could not begin (None)."""
