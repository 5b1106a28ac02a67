"""Parts of a configuration for one round: some of its rules, and all registries. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config import RuleError
from image_syncer.config.model import CatalogRule
from image_syncer.oci import InvalidReference, canonical_registry
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config import Configuration, Rule
    from image_syncer.oci import Repository
    from image_syncer.watch.server import PushedRepository


def is_empty(configuration: Configuration) -> bool:
    """Return whether it has no rule."""
    return not configuration.rules and not configuration.catalogs


def repository_of(source: str) -> str:
    """Return the repository of the source of an image, as results name it.

    >>> repository_of("registry.example:5000/team/app:v1"), repository_of("docker.io/library/nginx@sha256:00")
    ('registry.example:5000/team/app', 'docker.io/library/nginx')
    """
    name = source.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def awake_part(configuration: Configuration, resting: frozenset[str]) -> Configuration:
    """Return the rules without those that rest. Next to catalog rules, rules with a name do not rest, and the sources
    of one rule rest only together: conflicts of their destinations are found over all of them.
    """
    if not resting:
        return configuration
    if configuration.catalogs:
        return replace(configuration, catalogs=tuple(replace(each, resting=resting) for each in configuration.catalogs))
    awake = {rule.group for rule in configuration.rules if str(rule.source) not in resting and rule.group is not None}
    rules = (rule for rule in configuration.rules if str(rule.source) not in resting or rule.group in awake)
    return replace(configuration, rules=tuple(rules))


class RuleIndex:
    """Finds the rules that select a repository."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._by_name: dict[str, list[Rule]] = {}
        self._by_group: dict[str, list[Rule]] = {}
        self._sources_of: dict[Repository, set[Repository]] = {}
        for rule in configuration.rules:
            self._by_name.setdefault(rule.source.name, []).append(rule)
            if rule.group is not None:
                self._by_group.setdefault(rule.group, []).append(rule)
            for destination in rule.destinations:
                self._sources_of.setdefault(destination.repository, set()).add(rule.source)
        self._registries = {rule.source.registry for rule in configuration.rules}
        self._registries.update(rule.registry for rule in configuration.catalogs)

    def about(self, pushed: PushedRepository) -> list[Repository]:
        """Return the sources of rules and catalogs for a push. If no rule names the registry, it has another name here
        (behind a proxy, say), and the name of the repository alone decides.
        """
        found = [rule.source for rule in self._named(pushed)]
        return list(dict.fromkeys([*found, *(rule.source for rule in self._listed(pushed))]))

    def part(self, pushes: Iterable[PushedRepository]) -> Configuration:
        """Return the rules about these repositories, with all other sources of such a rule, and all catalogs: conflicts
        of their destinations are found over all of them, before anything is copied.
        """
        rules: dict[Rule, None] = {}
        listed: dict[str, None] = {}
        for pushed in pushes:
            for rule in self._named(pushed):
                rules.update(dict.fromkeys(self._by_group.get(rule.group or "", ()) or (rule,)))
            listed.update(dict.fromkeys(str(rule.source) for rule in self._listed(pushed)))
        catalogs = self._configuration.catalogs if listed else ()
        return replace(
            self._configuration,
            rules=tuple(rules),
            catalogs=tuple(replace(each, looked_at=frozenset(listed)) for each in catalogs),
        )

    def _wanted(self, pushed: PushedRepository) -> set[str]:
        host = _canonical(pushed.registry)
        return {host} if host in self._registries else self._registries

    def _named(self, pushed: PushedRepository) -> list[Rule]:
        wanted = self._wanted(pushed)
        return [rule for rule in self._by_name.get(pushed.name, ()) if rule.source.registry in wanted]

    def _listed(self, pushed: PushedRepository) -> list[Rule]:
        """Return catalog rules for this repository alone. One with the destination of another rule is left to the next
        full round, which refuses it.
        """
        wanted = self._wanted(pushed)
        catalogs = (catalog for catalog in self._configuration.catalogs if catalog.registry in wanted)
        found = (rule for each in catalogs if (rule := _rule_of(each, pushed.name)) is not None)
        return [
            rule
            for rule in found
            if all(self._sources_of.get(place.repository, set()) <= {rule.source} for place in rule.destinations)
        ]


def altered_part(old: Configuration, new: Configuration) -> Configuration:
    """Return the rules that `new` has and `old` has not, wherever they are written, each with all of its sources.
    Return all rules if anything else differs (registries, policies), since former failures may succeed now, or if
    catalog rules changed, since conflicts of destinations are found over all of them.
    """
    if _beside_rules(old) != _beside_rules(new):
        return new
    before = {*map(_unplaced, old.rules), *map(_unplaced, old.catalogs)}
    rules = [rule for rule in new.rules if _unplaced(rule) not in before]
    catalogs = [rule for rule in new.catalogs if _unplaced(rule) not in before]
    if new.catalogs and (rules or catalogs):
        return new
    groups = {rule.group for rule in rules if rule.group is not None}
    added = {id(rule) for rule in rules}
    return replace(
        new, rules=tuple(rule for rule in new.rules if id(rule) in added or rule.group in groups), catalogs=()
    )


def _beside_rules(configuration: Configuration) -> Configuration:
    return replace(configuration, rules=(), catalogs=(), warnings=())


def _unplaced(rule: Rule | CatalogRule) -> str:
    """Return the content of a rule, without the place where it is written."""
    if isinstance(rule, CatalogRule):
        return repr(replace(rule, origin=""))
    return repr(replace(rule, origin="", group=None))


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
