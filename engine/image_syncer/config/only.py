"""Which of the tags that a rule selects are copied, by what the destination has under them."""

from __future__ import annotations

from enum import Enum

__all__ = ["Only"]


class Only(str, Enum):
    """The values are those of the file."""

    ALL = "all"
    CHANGED = "changed"
    """Tags that the destination has with other content: it is kept in step, and nothing is added."""
    MISSING = "missing"
    """Tags that the destination does not have: nothing that is there is overwritten."""

    def __str__(self) -> str:
        return self.value
