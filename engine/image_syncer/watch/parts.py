"""Parts of a configuration: what is looked at in a round. Pure.

The registries always come along, the rules are those that a part is about.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from image_syncer.config import RuleError
from image_syncer.oci import InvalidReference, canonical_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config import CatalogRule, Configuration, Rule
    from image_syncer.watch.events import PushedRepository

__all__ = ["RuleIndex", "altered_part", "awake_part", "is_empty", "part_of", "repository_of"]


def is_empty(configuration: Configuration) -> bool:
    """Whether there is no rule in it."""
    return not configuration.rules and not configuration.catalogs


def repository_of(source: str) -> str:
    """The repository of the source of an image, as results tell it.

    >>> repository_of("registry.example:5000/team/app:v1"), repository_of("docker.io/library/nginx@sha256:00")
    ('registry.example:5000/team/app', 'docker.io/library/nginx')
    """
    name = source.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def awake_part(configuration: Configuration, resting: frozenset[str]) -> Configuration:
    """Without what rests. Beside rules for catalogs, rules with a name do not rest: whether two repositories would go
    into one place is found out over all of them.
    """
    if not resting:
        return configuration
    if configuration.catalogs:
        return replace(configuration, catalogs=tuple(replace(each, resting=resting) for each in configuration.catalogs))
    awake = [rule for rule in configuration.rules if str(rule.source) not in resting]
    return replace(configuration, rules=_with_mates(awake, configuration.rules))


def part_of(configuration: Configuration, rules: Sequence[Rule]) -> Configuration:
    """These rules and no other."""
    return replace(configuration, rules=tuple(dict.fromkeys(rules)), catalogs=())


def _with_mates(rules: Sequence[Rule], every: Sequence[Rule]) -> tuple[Rule, ...]:
    """`rules`, and what comes from one list of sources with one of them: their tags must not collide."""
    groups = {rule.group for rule in rules} - {None}
    mates = [rule for rule in every if rule.group in groups] if groups else []
    return tuple(dict.fromkeys([*rules, *mates]))


class RuleIndex:
    """Finds the rules that mean a repository."""

    def __init__(self, configuration: Configuration) -> None:
        self._catalogs = configuration.catalogs
        self._rules = configuration.rules
        self._by_name: dict[str, list[Rule]] = {}
        for rule in configuration.rules:
            self._by_name.setdefault(rule.source.name, []).append(rule)
        self._registries = {rule.source.registry for rule in configuration.rules}
        self._registries.update(rule.registry for rule in configuration.catalogs)

    def about(self, pushed: PushedRepository) -> list[Rule]:
        """Rules for this repository alone. A registry that no rule names is known by another name here (it stands
        behind a proxy, say): then the name of the repository decides alone.
        """
        host = _canonical(pushed.registry)
        wanted = {host} if host in self._registries else self._registries
        named = [rule for rule in self._by_name.get(pushed.name, ()) if rule.source.registry in wanted]
        found = [*_with_mates(named, self._rules)]
        catalogs = (catalog for catalog in self._catalogs if catalog.registry in wanted)
        return found + [rule for each in catalogs if (rule := _rule_of(each, pushed.name)) is not None]


def altered_part(old: Configuration, new: Configuration) -> Configuration:
    """The rules that `new` has and `old` has not, wherever they are written; all of them where anything else differs
    (registries, policies): what failed before may go well now.
    """
    if _beside_rules(old) != _beside_rules(new):
        return new
    rules, catalogs = set(map(_unplaced, old.rules)), set(map(_unplaced, old.catalogs))
    return replace(
        new,
        rules=_with_mates([rule for rule in new.rules if _unplaced(rule) not in rules], new.rules),
        catalogs=tuple(rule for rule in new.catalogs if _unplaced(rule) not in catalogs),
    )


def _beside_rules(configuration: Configuration) -> Configuration:
    return replace(configuration, rules=(), catalogs=(), warnings=())


def _unplaced(rule: Rule | CatalogRule) -> str:
    return repr(replace(rule, origin=""))


def _canonical(registry: str) -> str:
    try:
        return canonical_registry(registry)
    except InvalidReference:
        return registry.lower()


def _rule_of(catalog: CatalogRule, name: str) -> Rule | None:
    try:
        return catalog.rule_for(name)
    except (RuleError, InvalidReference):
        return None
