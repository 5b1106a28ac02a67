"""Forms: what is done about layers that images name and registries need not have."""

from __future__ import annotations

from enum import Enum

__all__ = ["ForeignLayers"]


class ForeignLayers(str, Enum):
    """What becomes of non-distributable layers, which name the URLs where everyone is to get them; the values are those
    of the command line.
    """

    LEAVE = "leave"
    """They are not moved: the manifest says where they are, as it did."""
    COPY = "copy"
    """They are moved as other layers are, from the source registry and from nowhere else."""
    REFUSE = "refuse"
    """The image fails before anything moves."""

    def __str__(self) -> str:
        return self.value
