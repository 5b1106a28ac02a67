"""A run that prunes: rules are resolved as for a sync, but that no image is brought anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.prune_scope import SelectedImages
from image_syncer.coordinator.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.rules import Images
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.net import EndpointBook
    from image_syncer.planning import Holdings, RetryPolicies
    from image_syncer.telemetry import ImageResult

__all__ = ["PruneRun"]

_TOLD = ("retries",)


class PruneRun(Run):
    """One prune of a configuration."""

    kind = "prune"

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        # That an image is selected is nothing for a journal.
        return Ledger(self._files.report, self._files.listener(on_image))

    def _new_check(self, _endpoints: EndpointBook, _policies: RetryPolicies) -> TreeCheck | None:
        return None

    def _new_images(self, _discovery: Discovery, _endpoints: EndpointBook, _holdings: Holdings) -> Images:
        return SelectedImages(self._ledger)

    def _settings_data(self) -> dict[str, Any]:
        data = super()._settings_data()
        return {name: data[name] for name in _TOLD}
