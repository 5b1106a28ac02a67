r"""Catalog rules: many repositories of one registry at once, by a pattern over the names that it lists.

`registry.example/team-*/**` means every repository whose name fits: `*` stands for any part of one component, `**` for
any part of the whole name, `?` for one character. What `*` and `**` stand for can be used in the destination as `\1`,
`\2`, …; `**` there is the whole name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from image_syncer.config.automaton import automaton_of
from image_syncer.config.findings import shown
from image_syncer.config.model import Destination, Rule
from image_syncer.config.only import Only
from image_syncer.config.place_texts import place_of
from image_syncer.config.rules import RuleError
from image_syncer.oci import InvalidReference, Repository, canonical_registry, is_place, repository_at, split_place
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config.referrers import ReferrerSelection
    from image_syncer.config.tag_selection import TagSelection
    from image_syncer.oci import Platform

__all__ = [
    "CatalogRule",
    "Template",
    "is_pattern",
    "parse_pattern",
    "parse_template",
    "translate_glob",
    "written_glob",
]

MOST_WILDCARDS = 4
"""In one pattern: the time that names take which nearly fit grows with its power."""

_WILDCARDS = re.compile(r"[*?]")
_NAME_PATTERN = re.compile(r"[a-z0-9._/*?-]+", re.ASCII)
_FILLED_IN = re.compile(r"\*\*|\\(?P<group>[0-9])")
_TEMPLATE = re.compile(r"(?:[a-z0-9._/-]|\*\*|\\[0-9])+", re.ASCII)


def is_pattern(source: str) -> bool:
    """Whether a source means the repositories that fit, and not one by its name."""
    place = split_place(source)
    pattern = source if place is None else place.rest
    return not pattern.startswith("/") and _WILDCARDS.search(pattern.partition(":/")[0]) is not None


def parse_pattern(text: str) -> tuple[str, str]:
    """Registry and pattern of a source such as `registry.example/team/**`, or `oci:DIR:team/**`. Raises RuleError."""
    place = place_of(text, is_source=True)
    if place is not None:
        return place.registry, _checked_pattern(place.rest)
    host, slash, pattern = text.partition("/")
    try:
        registry = canonical_registry(host)
    except InvalidReference:
        registry = ""
    if not slash or not registry or not re.search(r"[.:]|^localhost$", host) or _WILDCARDS.search(host):
        raise RuleError(
            f"“{shown(text)}” has a pattern, and does not begin with a registry", "write registry.example.com/team/**"
        )
    return registry, _checked_pattern(pattern)


def _checked_pattern(pattern: str) -> str:
    if not _NAME_PATTERN.fullmatch(pattern):
        raise RuleError(
            f"“{shown(pattern)}” fits no repository",
            "write such as team/** or team-*/app, in lower case, and choose tags under `tags`",
        )
    if len(re.findall(r"\*\*|\*", pattern)) > MOST_WILDCARDS:
        raise RuleError(
            f"more than {MOST_WILDCARDS} * in a pattern", "write ** for several components, or choose with `match`"
        )
    return pattern


def translate_glob(pattern: str) -> str:
    r"""The regular expression of a pattern over the whole name, with a group for each `*` and `**`.

    >>> translate_glob("team-*/**")
    'team\\-([^/]*)/(.+)'
    """
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    written = {"**": "(.+)", "*": "([^/]*)", "?": "[^/]"}
    return "".join(written.get(part) or re.escape(part) for part in parts)


def written_glob(pattern: str) -> str:
    r"""The pattern that `translate_glob` made `pattern` of.

    >>> written_glob(translate_glob("team-*/**"))
    'team-*/**'
    """
    for regex, wildcard in (("(.+)", "**"), ("([^/]*)", "*"), ("[^/]", "?")):
        pattern = pattern.replace(regex, wildcard)
    return re.sub(r"\\(.)", r"\1", pattern)


class Template(Value, frozen=True):
    r"""A destination for each repository: `path` with `**` and `\1` to be filled in, in `registry`. `flatten`, if any,
    stands for each slash in what is filled in.
    """

    registry: str
    path: str
    flatten: str | None = None

    def __str__(self) -> str:
        return f"{self.registry}{':' if is_place(self.registry) else '/'}{self.path}"

    def repository_for(self, match: re.Match[str]) -> Repository:
        """Where the repository goes whose name matched. Raises RuleError where that is no name."""

        def value(filled: re.Match[str]) -> str:
            text = match.group(int(filled["group"] or 0)) or ""
            return text if self.flatten is None else text.replace("/", self.flatten)

        name = _FILLED_IN.sub(value, self.path)
        try:
            repository = repository_at(self.registry, name)
        except InvalidReference:
            repository = None
        if repository is None or repository.registry != self.registry:
            raise RuleError(f"{match.string} would go to {self.registry}/{shown(name)}, which is no name")
        return repository


def parse_template(text: str, groups: int, flatten: str | None) -> Template:
    """A destination of a catalog rule whose pattern has so many groups. Raises RuleError."""
    place = place_of(text, is_source=False)
    if place is not None:
        registry, path = place.registry, place.rest
        is_host = True
    else:
        host, slash, path = text.partition("/")
        try:
            registry = canonical_registry(host)
        except InvalidReference:
            registry = ""
        is_host = bool(slash and registry and re.search(r"[.:]|^localhost$", host))
    if not is_host or not _TEMPLATE.fullmatch(path):
        raise RuleError(
            f"“{shown(text)}” is no destination for repositories that a pattern finds",
            r"write registry.example.com/mirror/**, or \1 for what the first * stands for; without a tag",
        )
    used = [int(found["group"] or 0) for found in _FILLED_IN.finditer(path)]
    if not used:
        raise RuleError(
            f"every repository that the pattern finds would go into {shown(text)}", f"write {shown(text)}/**"
        )
    if max(used) > groups:
        raise RuleError(
            f"\\{max(used)} in the destination, and the pattern has {groups} parts that vary",
            r"write ** for the whole name, \1 for the first part",
        )
    return Template(registry, path, flatten)


class CatalogRule(Value, frozen=True):
    """A rule for each repository of `registry` whose whole name matches `pattern`, and none of `exclude`: regular
    expressions; and in whose name `exclude_regex` is not found. `written` is the source as the user wrote it, `origin`
    where, for messages. Where fewer than `min_repositories` are meant of those that are listed, the rule fails.
    """

    registry: str
    pattern: str
    written: str
    exclude: tuple[str, ...]
    tags: TagSelection
    destinations: tuple[Template, ...]
    platforms: tuple[Platform, ...] = ()
    origin: str = ""
    referrers: ReferrerSelection | None = None
    """As in `Rule`."""
    only: Only = Only.ALL
    exclude_regex: str | None = None
    min_repositories: int = 0
    resting: frozenset[str] = frozenset()
    """Repositories ("registry/name") that are meant, and not looked at in this run: see `watch.activity`."""
    looked_at: frozenset[str] | None = None
    """Where it is given, no other repositories are looked at in this run: something was pushed to these."""

    def means(self, name: str) -> bool:
        """Whether the repository `name` of its registry is meant."""
        return (
            automaton_of(self.pattern).fullmatch(name)
            and not any(automaton_of(pattern).fullmatch(name) for pattern in self.exclude)
            and not (self.exclude_regex is not None and automaton_of(self.exclude_regex).search(name))
        )

    @property
    def owner(self) -> str:
        """The first component of every name that is meant; "" where it varies, or there is no other."""
        if is_place(self.registry):
            return ""
        first, slash, _ = self.written.partition("/")[2].partition("/")
        return first if slash and not _WILDCARDS.search(first) else ""

    def rule_for(self, name: str) -> Rule | None:
        """The rule for the repository `name`; None where it is not meant. Raises RuleError where it has no
        destination, InvalidReference where the registry lists what is no name.
        """
        # The automaton first: it is soon done with what does not match, and nearly nothing does that takes for ever.
        match = _compiled(self.pattern).fullmatch(name) if self.means(name) else None
        if match is None:
            return None
        source = repository_at(self.registry, name)
        places = dict.fromkeys(template.repository_for(match) for template in self.destinations)
        destinations = tuple(Destination(place) for place in places)
        return Rule(source, self.tags, destinations, self.platforms, self.origin, self.referrers, self.only)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
