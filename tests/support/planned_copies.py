"""What a file in our own format would copy, with registries that list what a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config import Rule
from image_syncer.config.loader import load_configuration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class AnyVariable(dict[str, str]):
    """Every variable is set, to its own name in lower case."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return name.lower()


def planned_copies(path: Path, listed: Mapping[str, Sequence[str]]) -> set[tuple[str, str]]:
    """Every (source, destination) of the rules in force. `listed` has the tags of each repository that there is."""
    return {(source, destination) for source, destination, _ in planned_for_platforms(path, listed)}


def planned_for_platforms(path: Path, listed: Mapping[str, Sequence[str]]) -> set[tuple[str, str, tuple[str, ...]]]:
    """The same with the platforms of the rule, none where it takes all of them."""
    configuration = load_configuration(config=str(path), environ=AnyVariable())
    rules: list[Rule] = list(configuration.rules)
    for catalog in configuration.catalogs:
        names = [
            name.removeprefix(f"{catalog.registry}/") for name in listed if name.startswith(f"{catalog.registry}/")
        ]
        rules += [rule for name in names if (rule := catalog.rule_for(name)) is not None]
    return {
        (str(source), str(target), tuple(map(str, rule.platforms)))
        for rule in rules
        for source, target in rule.pairs(listed.get(str(rule.source), ()))
    }
