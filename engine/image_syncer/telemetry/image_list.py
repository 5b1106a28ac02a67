"""ImageList: the images that are as wanted, in the form of an images file, as the Go tool writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.telemetry.partial_file import PartialFile

if TYPE_CHECKING:
    from image_syncer.telemetry.outcome import ImageResult

__all__ = ["ImageList"]


class ImageList:
    """Collects `source: [destinations]` of what was copied or already there, and writes it as YAML or JSON.

    It holds the names of all images of the run in memory, so nobody has it without asking for it. Raises what
    `PartialFile` raises.
    """

    def __init__(self, path: str, *, list_format: str = "yaml") -> None:
        self._file = PartialFile(path, noun="the list of images", option="--output-success-images")
        self._format = list_format
        self._destinations: dict[str, list[str]] = {}

    def add(self, result: ImageResult) -> None:
        """Notes one image, if it is as wanted."""
        if result.outcome.is_as_wanted:
            self._destinations.setdefault(result.source, []).append(result.destination)

    def close(self) -> None:
        """Writes the file, in alphabetical order whatever the order in which images ended."""
        ordered = {source: sorted(set(self._destinations[source])) for source in sorted(self._destinations)}
        if self._format == "json":
            import json

            text = json.dumps(ordered, indent=2, ensure_ascii=False) + "\n"
        else:
            import yaml

            text = yaml.safe_dump(ordered, default_flow_style=False, allow_unicode=True, width=10_000)
        self._file.write(text.encode())
        self._file.commit()

    def abandon(self) -> None:
        """Leaves no file behind."""
        self._file.abandon()
