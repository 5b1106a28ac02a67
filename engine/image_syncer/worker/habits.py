"""Habits: how registries take uploads, as far as it has been learnt, so that nothing is tried twice in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEEPS_PARTIAL", "TAKES_PIECES", "Habits"]

KEEPS_PARTIAL = "keeps partial uploads"
"""Whether what came before a cut survives it, and the session tells how much that is."""
TAKES_PIECES = "takes uploads in pieces"


class Habits:
    """Facts by registry and name. `on_learnt(registry, fact, value)` is told what this worker has found out itself."""

    def __init__(self, on_learnt: Callable[[str, str, bool], None] = lambda _registry, _fact, _value: None) -> None:
        self._facts: dict[tuple[str, str], bool] = {}
        self._on_learnt = on_learnt

    def told(self, registry: str, fact: str, value: bool) -> None:
        """Another worker has found it out, or an earlier run."""
        self._facts[registry, fact] = value

    def known(self, registry: str, fact: str) -> bool | None:
        """What is known; None: nothing yet."""
        return self._facts.get((registry, fact))

    def learn(self, registry: str, fact: str, value: bool) -> None:
        """It was seen just now."""
        if self._facts.get((registry, fact)) is not value:
            self._facts[registry, fact] = value
            self._on_learnt(registry, fact, value)
