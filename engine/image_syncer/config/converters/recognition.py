"""Which tool a file was written for, by its keys."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from image_syncer.config.tree import MappingNode, SequenceNode

if TYPE_CHECKING:
    from image_syncer.config.tree import Node

__all__ = ["FileFormat", "recognise_format"]

_OF_SKOPEO = frozenset({"images", "images-by-tag-regex", "images-by-semver"})


class FileFormat(str, Enum):
    """The formats that can be converted; the values are the words of the command line."""

    GO = "go"
    REGSYNC = "regsync"
    SKOPEO = "skopeo"
    DREGSY = "dregsy"

    def __str__(self) -> str:
        return self.value

    @property
    def tool(self) -> str:
        """Its name for people."""
        return {"go": "the Go tool", "skopeo": "skopeo sync"}.get(self.value, self.value)


def recognise_format(root: Node | None) -> FileFormat | None:
    """The format of a file; None where it is none that is known."""
    if not isinstance(root, MappingNode) or not root.entries:
        return None
    if isinstance(root.get("sync"), SequenceNode):
        return FileFormat.REGSYNC
    if isinstance(root.get("tasks"), SequenceNode):
        return FileFormat.DREGSY
    values = [value for _, value in root.entries]
    if all(isinstance(value, MappingNode) and _OF_SKOPEO & {key.text for key, _ in value.entries} for value in values):
        return FileFormat.SKOPEO
    return FileFormat.GO
