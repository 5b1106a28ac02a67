"""The files of a watch that are in force: those that were read last without mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.watch.parts import RuleIndex, altered_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Configuration

__all__ = ["FilesInForce"]


class FilesInForce:
    """Reads them with `load`, and raises what that raises."""

    def __init__(self, load: Callable[[], Configuration]) -> None:
        self._load = load
        self.configuration = load()
        self.index = RuleIndex(self.configuration)

    def read_again(self) -> Configuration:
        """What is new in them, see `altered_part`; it is `configuration` itself where everything is. What was in force
        stays so where they cannot be read, or have mistakes.
        """
        old, new = self.configuration, self._load()
        self.configuration, self.index = new, RuleIndex(new)
        return altered_part(old, new)
