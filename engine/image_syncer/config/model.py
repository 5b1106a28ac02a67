"""The model: what the user wants copied, in whatever format it was written."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import field
from msgspec.structs import force_setattr

from image_syncer.config.findings import RuleError, shown
from image_syncer.config.regex import matcher_of
from image_syncer.config.registry_book import RegistryBook
from image_syncer.oci import InvalidReference, Reference, Repository, is_place, repository_at
from image_syncer.patterns import lazy_pattern
from image_syncer.values import TextEnum, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.config.policy import Policy
    from image_syncer.config.referrers import ReferrerSelection
    from image_syncer.config.tag_filters import CreatedSelection, VersionSelection
    from image_syncer.errors import Problem
    from image_syncer.oci import Digest, Platform


SOLE_IMAGE = ("",)
"""The names of a `TagSelection` that means the one image of a layout, whatever its name (`layout/locations.py`)."""

FILLED_IN = lazy_pattern(r"\*\*|\\(?P<group>[0-9])")
"""What a `Template` replaces."""
_TAG_WILDCARDS = lazy_pattern(r"[*?\[]")


class TagSelection(Value, frozen=True):
    """Which tags of a source a rule selects. With nothing given: all of them.

    `names` and `digest` are taken as they are, without asking the registry. Otherwise a listed tag is selected when it
    matches one of the `include` globs (none: every tag) and `regex` (found anywhere in the tag, as in the Go tool),
    none of the `exclude` globs and not `exclude_regex`, and is among `versions`.

    `created` narrows this by the creation time of the images, which `select` does not know.

    Where a rule selects fewer than `min_tags` of the listed tags, it fails and none of them is copied.
    """

    names: tuple[str, ...] = ()
    digest: Digest | None = None
    regex: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    versions: VersionSelection | None = None
    min_tags: int = 0
    exclude_regex: str | None = None
    created: CreatedSelection | None = None

    @property
    def compares(self) -> bool:
        """Whether the selection needs all tags of the repository: it selects the newest of them."""
        return self.versions is not None and self.versions.newest is not None

    @property
    def needs_listing(self) -> bool:
        """Whether the registry has to list its tags; include globs without wildcards need no list."""
        return not (self.names or self.digest is not None or self._exact)

    @property
    def most(self) -> int | None:
        """How many tags the selection can have, whatever the registry lists; None: no bound. A digest counts as one."""
        if not self.needs_listing:
            return 1 if self.digest is not None else len(self.select(()))
        counts = [each.newest for each in (self.versions, self.created) if each is not None]
        return min((count for count in counts if count is not None), default=None)

    @property
    def _exact(self) -> bool:
        return bool(self.include) and self.created is None and not any(map(_TAG_WILDCARDS.search, self.include))

    def select(self, listed: Iterable[str]) -> list[str]:
        """Return the selected tags, in the order of the rule or of the list; for a digest, none. `created` is ignored.

        Where the selection `compares`, `listed` has all tags, or the selected ones of some and all others.
        """
        if self.names or self.digest is not None:
            return list(self.names)
        regexes = (self.regex, self.exclude_regex)
        pattern, without = (matcher_of(regex) if regex is not None else None for regex in regexes)
        include = () if self._exact else self.include
        tags = [
            tag
            for tag in dict.fromkeys(self.include if self._exact else listed)
            if (not include or any(fnmatchcase(tag, glob) for glob in include))
            and (pattern is None or pattern.search(tag))
            and not any(fnmatchcase(tag, glob) for glob in self.exclude)
            and not (without is not None and without.search(tag))
        ]
        return tags if self.versions is None else self.versions.select(tags)


class Only(TextEnum):
    """Which of the selected tags are copied, by what the destination has. The values are those of the key."""

    ALL = "all"
    CHANGED = "changed"
    """Tags that the destination has with other content: they are updated, and none is added."""
    MISSING = "missing"
    """Tags that the destination does not have: nothing is overwritten."""


class Destination(Value, frozen=True):
    """Where images of a rule go. Without `tags` and `digest` they keep the tag or digest of the source; with `tags` the
    first source tag becomes the first of them, and so on.
    """

    repository: Repository
    tags: tuple[str, ...] = ()
    digest: Digest | None = None

    def reference_for(self, source: Reference, position: int) -> Reference:
        """Return where the source image at `position` (from 0) among the tags of its rule goes."""
        if self.digest is not None:
            return Reference(self.repository, None, self.digest)
        if self.tags:
            return Reference(self.repository, self.tags[position], None)
        return Reference(self.repository, source.tag, source.digest)


class Pin(Value, frozen=True, eq=False):
    """What a plan found, and this run has to do: the digest of the `source`, and for each destination, by its name, the
    digest to push (`digests`) and the one that was there (`there`, None: nothing).
    """

    source: Digest
    digests: Mapping[str, Digest]
    there: Mapping[str, Digest | None]


class Rule(Value, frozen=True):
    """A source, its tags, and its destinations. `origin` is where the rule was written ("images.yaml:3")."""

    source: Repository
    tags: TagSelection
    destinations: tuple[Destination, ...]
    platforms: tuple[Platform, ...] = ()
    origin: str = ""
    referrers: ReferrerSelection | None = None
    """None: as the settings say."""
    only: Only = Only.ALL
    group: str | None = None
    """The list of sources that the rule comes from, where it has several."""
    pin: Pin | None = None
    """For the one image of a plan."""

    def references(self, listed: Iterable[str] = ()) -> list[Reference]:
        """Return the source images; `listed` are the registry's tags, needed only where `tags.needs_listing`."""
        if self.tags.digest is not None:
            return [Reference(self.source, None, self.tags.digest)]
        return [Reference(self.source, tag, None) for tag in self.tags.select(listed)]

    def pairs(self, listed: Iterable[str] = ()) -> list[tuple[Reference, Reference]]:
        """Return every (source, destination) of the rule once; `listed` as for `references`."""
        references = self.references(listed)
        return list(
            dict.fromkeys(
                (reference, destination.reference_for(reference, position))
                for destination in self.destinations
                for position, reference in enumerate(references)
            )
        )


class Template(Value, frozen=True):
    r"""A destination for each repository of a catalog rule: `path` in `registry`, where `**` stands for the whole name
    and `\1` for a part of it. `flatten`, if any, replaces each slash in what is filled in.
    """

    registry: str
    path: str
    flatten: str | None = None

    def __str__(self) -> str:
        return f"{self.registry}{':' if is_place(self.registry) else '/'}{self.path}"

    def repository_for(self, match: re.Match[str]) -> Repository:
        """Return the destination of the repository whose name matched. Raises RuleError where that is no name."""

        def value(filled: re.Match[str]) -> str:
            text = match.group(int(filled["group"] or 0)) or ""
            return text if self.flatten is None else text.replace("/", self.flatten)

        name = FILLED_IN.sub(value, self.path)
        try:
            repository = repository_at(self.registry, name)
        except InvalidReference:
            repository = None
        if repository is None or repository.registry != self.registry:
            raise RuleError(f"{match.string} would go to {self.registry}/{shown(name)}, which is no name")
        return repository


class CatalogRule(Value, frozen=True):
    """A rule for each repository of `registry` whose whole name matches `pattern`, none of `exclude` (regular
    expressions), and not `exclude_regex` (found anywhere). `written` is the source in the user's words, `origin` its
    place. The rule fails where it selects fewer than `min_repositories`.
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
    """Selected repositories ("registry/name") that this run skips: see `watch.parts`."""
    looked_at: frozenset[str] | None = None
    """Where it is given, this run skips all other repositories: something was pushed to these."""

    def means(self, name: str) -> bool:
        """Return whether the rule selects the repository `name` of its registry."""
        return (
            matcher_of(self.pattern).fullmatch(name)
            and not any(matcher_of(pattern).fullmatch(name) for pattern in self.exclude)
            and not (self.exclude_regex is not None and matcher_of(self.exclude_regex).search(name))
        )

    @property
    def owner(self) -> str:
        """The first component of every selected name; "" where it varies, or is the whole name."""
        if is_place(self.registry):
            return ""
        first, slash, _ = self.written.partition("/")[2].partition("/")
        return first if slash and "*" not in first and "?" not in first else ""

    def rule_for(self, name: str) -> Rule | None:
        """Return the rule for the repository `name`; None where this one does not select it. Raises RuleError where it
        has no destination, InvalidReference where `name` is no name.
        """
        # `re` gives the groups. It gets only names that RE2 matched, for which it rarely takes exponential time.
        match = _compiled(self.pattern).fullmatch(name) if self.means(name) else None
        if match is None:
            return None
        source = repository_at(self.registry, name)
        found = dict.fromkeys(template.repository_for(match) for template in self.destinations)
        destinations = tuple(Destination(repository) for repository in found)
        return Rule(source, self.tags, destinations, self.platforms, self.origin, self.referrers, self.only)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Configuration(Value, frozen=True):
    """Everything the user wrote, checked: rules, registries, warnings, rules for catalogs, and policies."""

    rules: tuple[Rule, ...] = ()
    registries: RegistryBook = field(default_factory=RegistryBook)
    warnings: tuple[Problem, ...] = ()
    catalogs: tuple[CatalogRule, ...] = ()
    policies: tuple[Policy, ...] = ()

    def __post_init__(self) -> None:
        # A caller may pass iterators, which are empty after the first use.
        for name in ("rules", "warnings", "catalogs", "policies"):
            force_setattr(self, name, tuple(getattr(self, name)))
