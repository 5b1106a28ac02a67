"""Where the places of a rule are: paths in a file are meant from its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from image_syncer.config.catalogs import CatalogRule
from image_syncer.config.model import Rule
from image_syncer.oci import split_place
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.oci import Repository

__all__ = ["rule_from"]

_Rule = TypeVar("_Rule", Rule, CatalogRule)


def rule_from(directory: str, rule: _Rule) -> _Rule:
    """The rule with full paths of its places: those that are none are taken from `directory`."""
    if isinstance(rule, CatalogRule):
        templates = tuple(replace(each, registry=_full(directory, each.registry)) for each in rule.destinations)
        registry = _full(directory, rule.registry)
        written = rule.written if registry == rule.registry else f"{registry}:{rule.written.split(':', 2)[2]}"
        return replace(rule, registry=registry, written=written, destinations=templates)
    destinations = tuple(replace(each, repository=_moved(directory, each.repository)) for each in rule.destinations)
    return replace(rule, source=_moved(directory, rule.source), destinations=destinations)


def _moved(directory: str, repository: Repository) -> Repository:
    return replace(repository, registry=_full(directory, repository.registry))


def _full(directory: str, registry: str) -> str:
    place = split_place(registry)
    if place is None or place.path.startswith("/"):
        return registry
    moved = split_place(f"{place.kind}:{directory.rstrip('/')}/{place.path}")
    return registry if moved is None else moved.registry
