"""Quirks: what a run has learnt of its registries, told to every worker, so that nothing is tried twice in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.registry import Mounts
from image_syncer.worker.habits import MOUNTS, fact_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.registry import Endpoint

__all__ = ["Quirks"]


class Quirks:
    """Facts by registry and name, such as ("registry.example", "keeps partial uploads"): False.

    `remembered` are those of an earlier run; `on_change` is told each that is new or has changed.
    """

    def __init__(
        self,
        remembered: Mapping[tuple[str, str], bool] | None = None,
        on_change: Callable[[str, str, bool], None] = lambda _registry, _fact, _value: None,
    ) -> None:
        self._facts = dict(remembered or {})
        self._on_change = on_change

    def learn(self, registry: str, fact: str, value: bool) -> bool:
        """Take note of a fact; whether it was news."""
        if self._facts.get((registry, fact)) is value:
            return False
        self._facts[registry, fact] = value
        self._on_change(registry, fact, value)
        return True

    def known(self, endpoint: Endpoint, fact: str) -> bool | None:
        """What is known of a registry, by its profile or by what it did; None: nothing yet."""
        by_profile = fact_of(endpoint.profile, fact)
        return self._facts.get((endpoint.registry, fact)) if by_profile is None else by_profile

    def mounts_at(self, endpoint: Endpoint | None) -> Mounts:
        """Between which repositories of a registry blobs are mounted; anywhere, where nothing is known of it."""
        if endpoint is None:
            return Mounts.ANYWHERE
        return Mounts.NOWHERE if self.known(endpoint, MOUNTS) is False else endpoint.profile.mounts

    def all(self) -> list[tuple[str, str, bool]]:
        """Every fact, as (registry, fact, value)."""
        return [(registry, fact, value) for (registry, fact), value in self._facts.items()]
