"""What is wrong with a place."""

from __future__ import annotations

__all__ = ["PlaceError"]


class PlaceError(OSError):
    """A place that cannot be used: what is wrong, and what to do. An OSError, which the process that serves the place
    tells to the one that started it; `parse` reads what it told.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}\n{mend}" if mend else what)
        self.what = what
        self.mend = mend

    @classmethod
    def parse(cls, text: str) -> PlaceError:
        """The error of which `text` is the text."""
        what, _, mend = text.partition("\n")
        return cls(what, mend)
