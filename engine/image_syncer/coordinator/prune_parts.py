"""The parts of a run that prunes: rules are resolved as for a sync, but that no image is brought anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.config.pruning import Pruning
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.prune_scope import SelectedImages
from image_syncer.coordinator.run_parts import RunParts
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.rules import Images
    from image_syncer.coordinator.verify_tree import TreeCheck
    from image_syncer.planning import RetryPolicies
    from image_syncer.telemetry import ImageResult

__all__ = ["PruneParts"]

_TOLD = ("retries",)


class PruneParts(RunParts):
    """One prune of a configuration."""

    kind = "prune"

    def __init__(self, configuration: Configuration, settings: Settings, *given: Any, **further: Any) -> None:
        wanted = replace(settings, pruning=settings.pruning or Pruning())
        super().__init__(configuration, wanted, *given, **further)

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        # That an image is selected is nothing for a journal.
        return Ledger(self.files.report, self.files.listener(on_image))

    def _new_check(self, _policies: RetryPolicies) -> TreeCheck | None:
        return None

    def _new_images(self) -> Images:
        return SelectedImages(self.ledger)

    def settings_data(self) -> dict[str, Any]:
        """Those that mean something here."""
        data = super().settings_data()
        return {name: data[name] for name in _TOLD}
