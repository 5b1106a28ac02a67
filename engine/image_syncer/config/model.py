"""The model: what the user wants copied and how registries are reached, whatever spelling it was written in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.config.automaton import automaton_of
from image_syncer.config.only import Only
from image_syncer.config.registry_cloud import CloudSettings, merge_clouds
from image_syncer.config.registry_limits import NO_LIMITS, Limits, merge_limits
from image_syncer.config.registry_network import merge_networks
from image_syncer.config.registry_profile import merge_profiles
from image_syncer.config.registry_safety import merge_redirects
from image_syncer.oci import InvalidReference, Reference, Repository, canonical_registry, is_place
from image_syncer.registry import DIRECT, STRICT, Network, Profile, RedirectPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from image_syncer.config.catalogs import CatalogRule
    from image_syncer.config.created import CreatedSelection
    from image_syncer.config.policy import Policy
    from image_syncer.config.referrers import ReferrerSelection
    from image_syncer.config.registry_creation import RepositoryTemplate
    from image_syncer.config.versions import VersionSelection
    from image_syncer.errors import Problem
    from image_syncer.oci import Digest, Platform
    from image_syncer.registry import Credential

__all__ = [
    "SOLE_IMAGE",
    "Configuration",
    "Destination",
    "HostSettings",
    "Pin",
    "RegistryBook",
    "RegistryEntry",
    "Rule",
    "TagSelection",
    "canonical_prefix",
]

SOLE_IMAGE = ("",)
"""The names of a `TagSelection` that means the one image of a place, whatever its name (`layout/sole_image.py`)."""

_WILDCARDS = re.compile(r"[*?\[]")


def canonical_prefix(text: str) -> str:
    """The one spelling of `registry` or `registry/namespace`: no scheme, no API version, no slash at the end,
    lower-case host, and one name for Docker Hub.

    >>> canonical_prefix("https://index.docker.io/v1/")
    'docker.io'
    """
    if is_place(text):
        return text
    scheme, separator, rest = text.strip().partition("://")
    host, _, path = (rest if separator else scheme).strip("/").partition("/")
    if separator and path in ("v1", "v2"):
        path = ""
    try:
        host = canonical_registry(host)
    except InvalidReference:
        host = host.lower()
    return f"{host}/{path}" if path else host


@dataclass(frozen=True, slots=True)
class TagSelection:
    """Which tags of a source are meant. With nothing given: all of them.

    `names` and `digest` are taken as they are, without asking the registry. Otherwise a listed tag is meant when it
    matches one of the `include` globs (none: every tag), and `regex` (found anywhere in the tag, as the Go tool
    does), and none of the `exclude` globs, and not `exclude_regex` (found anywhere), and is among `versions`.

    Of those, only the ones are meant that `created` selects, which takes more than their names: see `select`.

    Where fewer than `min_tags` are meant of those that are listed, the rule fails and none of them is copied.
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
        """Whether it takes all tags of the repository to know which of them are meant: those that are the newest."""
        return self.versions is not None and self.versions.newest is not None

    @property
    def needs_listing(self) -> bool:
        """Whether the registry has to be asked for its tags; include globs that are all exact need no list."""
        return not (self.names or self.digest is not None or self._exact)

    @property
    def most(self) -> int | None:
        """How many tags can be meant, whatever the registry lists; None where it alone decides. A digest is one."""
        if not self.needs_listing:
            return 1 if self.digest is not None else len(self.select(()))
        counts = [each.newest for each in (self.versions, self.created) if each is not None]
        return min((count for count in counts if count is not None), default=None)

    @property
    def _exact(self) -> bool:
        return bool(self.include) and self.created is None and not any(_WILDCARDS.search(glob) for glob in self.include)

    def select(self, listed: Iterable[str]) -> list[str]:
        """The tags that are meant, in the order written, or listed where the list decides. Empty for a digest. What
        `created` would leave out is among them.

        Where the selection `compares`, `listed` is all there are, or what was selected of some of them and all others.
        """
        if self.names or self.digest is not None:
            return list(self.names)
        regexes = (self.regex, self.exclude_regex)
        pattern, without = (automaton_of(regex) if regex is not None else None for regex in regexes)
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


@dataclass(frozen=True, slots=True)
class Destination:
    """Where images of a rule go. Without `tags` and `digest` they keep the tag or digest they have at the source;
    with `tags` the first source tag becomes the first of them, and so on.
    """

    repository: Repository
    tags: tuple[str, ...] = ()
    digest: Digest | None = None

    def reference_for(self, source: Reference, position: int) -> Reference:
        """Where the source image goes that stands at `position` (from 0) among the tags of its rule."""
        if self.digest is not None:
            return Reference(self.repository, None, self.digest)
        if self.tags:
            return Reference(self.repository, self.tags[position], None)
        return Reference(self.repository, source.tag, source.digest)


@dataclass(frozen=True, slots=True, eq=False)
class Pin:
    """What a plan found, and is to be done now: the digest of the `source`, and for each destination, by its name, what
    is to be pushed there (`digests`) and what was there (`there`, None: nothing).
    """

    source: Digest
    digests: Mapping[str, Digest]
    there: Mapping[str, Digest | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of what the user wants: a source, its tags, and every place they go to.

    `origin` is where the rule was written ("images.yaml:3"), for messages.
    """

    source: Repository
    tags: TagSelection
    destinations: tuple[Destination, ...]
    platforms: tuple[Platform, ...] = ()
    origin: str = ""
    referrers: ReferrerSelection | None = None
    """None: as the settings say."""
    only: Only = Only.ALL
    group: str | None = None
    """The list of sources that it comes from, where a rule has several."""
    pin: Pin | None = None
    """For the one image of a plan."""

    def references(self, listed: Iterable[str] = ()) -> list[Reference]:
        """The source images; `listed` are the registry's tags, needed only where `tags.needs_listing`."""
        if self.tags.digest is not None:
            return [Reference(self.source, None, self.tags.digest)]
        return [Reference(self.source, tag, None) for tag in self.tags.select(listed)]

    def pairs(self, listed: Iterable[str] = ()) -> list[tuple[Reference, Reference]]:
        """Every (source, destination) of the rule once; `listed` as for `references`."""
        references = self.references(listed)
        return list(
            dict.fromkeys(
                (reference, destination.reference_for(reference, position))
                for destination in self.destinations
                for position, reference in enumerate(references)
            )
        )


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """What was written for one `registry` or `registry/namespace`. The credential's repr hides its secret."""

    prefix: str
    credential: Credential | None = None
    insecure: bool = False
    skip_tls_verify: bool = False
    ca_file: str | None = None
    max_connections: int | None = None
    pieces_above: int | None = None
    limits: Limits = NO_LIMITS
    mirrors: tuple[str, ...] = ()
    network: Network = DIRECT
    redirects: RedirectPolicy = STRICT
    profile: Profile | None = None
    cloud: CloudSettings | None = None
    creation: RepositoryTemplate | None = None


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How one registry host is reached, merged over all entries that name the host.

    `insecure`: TLS without verification first, then plain HTTP. `ca_file`: path of a PEM file. Larger blobs than
    `pieces_above` (bytes) are uploaded in pieces. Without a `profile`, the registry is recognised.
    """

    insecure: bool = False
    skip_tls_verify: bool = False
    ca_file: str | None = None
    max_connections: int | None = None
    pieces_above: int | None = None
    limits: Limits = NO_LIMITS
    network: Network = DIRECT
    redirects: RedirectPolicy = STRICT
    profile: Profile | None = None
    cloud: CloudSettings | None = None


@dataclass(frozen=True)
class RegistryBook:
    """All registry entries. The longest prefix wins, compared on path boundaries; Docker Hub has one name."""

    entries: tuple[RegistryEntry, ...] = ()
    _by_prefix: dict[str, RegistryEntry] = field(init=False, repr=False, compare=False)
    _by_host: dict[str, HostSettings] = field(init=False, repr=False, compare=False)
    _has_mirrors: bool = field(init=False, repr=False, compare=False)

    def __init__(self, entries: Iterable[RegistryEntry] = ()) -> None:
        entries = tuple(entries)  # they are gone through more than once
        by_prefix: dict[str, RegistryEntry] = {}
        by_host: dict[str, list[RegistryEntry]] = {}
        for entry in entries:
            prefix = canonical_prefix(entry.prefix)
            by_prefix.setdefault(prefix, entry)
            host = prefix if is_place(prefix) else prefix.partition("/")[0]
            by_host.setdefault(host, []).append(entry)
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "_by_prefix", by_prefix)
        object.__setattr__(self, "_has_mirrors", any(entry.mirrors for entry in entries))
        object.__setattr__(self, "_by_host", {host: _merge(group) for host, group in by_host.items()})

    def entry_for(self, repository: Repository) -> RegistryEntry | None:
        """The entry with the longest prefix of `registry/name`, or None."""
        return next(self._entries_for(repository), None)

    def template_for(self, repository: Repository) -> RepositoryTemplate | None:
        """How the repository is created where it is missing: what the entry with the longest prefix says that says
        anything; None where it is not to be created.
        """
        said = (entry.creation for entry in self._entries_for(repository))
        found = next((template for template in said if template is not None), None)
        return found if found is not None and found.create else None

    def _entries_for(self, repository: Repository) -> Iterator[RegistryEntry]:
        prefix = f"{repository.registry}/{repository.name}"
        while prefix:
            entry = self._by_prefix.get(prefix)
            if entry is not None:
                yield entry
            prefix = prefix.rpartition("/")[0]

    def host_settings(self, registry: str) -> HostSettings:
        """How the host is reached: `insecure` and `skip_tls_verify` if any entry of the host says so, the first
        `ca_file` and `profile`, the smallest `max_connections` and `pieces_above`.
        """
        return self._by_host.get(canonical_prefix(registry), HostSettings())

    def mirrors_of(self, repository: Repository) -> tuple[Repository, ...]:
        """Where the same images can be had, in the order of trial."""
        parts = [mirror.partition("/") for mirror in self.mirrors_written(repository)]
        return tuple(Repository(host, f"{path}{slash}{repository.name}") for host, slash, path in parts)

    def mirrors_written(self, repository: Repository) -> tuple[str, ...]:
        """The mirrors of the entry with the longest prefix that has any, each with what the names there begin with."""
        prefix = f"{repository.registry}/{repository.name}" if self._has_mirrors else ""
        while prefix:
            entry = self._by_prefix.get(prefix)
            if entry is not None and entry.mirrors:
                return entry.mirrors
            prefix = prefix.rpartition("/")[0]
        return ()

    def limits(self) -> dict[str, Limits]:
        """What the user allows at each host of which an entry bounds something."""
        return {host: one.limits for host, one in self._by_host.items() if one.limits != NO_LIMITS}


def _merge(entries: Sequence[RegistryEntry]) -> HostSettings:
    return HostSettings(
        insecure=any(entry.insecure for entry in entries),
        skip_tls_verify=any(entry.skip_tls_verify for entry in entries),
        ca_file=next((entry.ca_file for entry in entries if entry.ca_file), None),
        max_connections=min((n for entry in entries if (n := entry.max_connections)), default=None),
        pieces_above=min((n for entry in entries if (n := entry.pieces_above) is not None), default=None),
        limits=merge_limits([entry.limits for entry in entries]),
        network=merge_networks(entry.network for entry in entries),
        redirects=merge_redirects(entry.redirects for entry in entries),
        profile=merge_profiles(entry.profile for entry in entries),
        cloud=merge_clouds(entry.cloud for entry in entries),
    )


@dataclass(frozen=True)
class Configuration:
    """Everything the user wrote, checked: the rules, the registries, what deserves a warning, the rules for what
    a registry lists, and the policies that hold for all of them.
    """

    rules: tuple[Rule, ...] = ()
    registries: RegistryBook = field(default_factory=RegistryBook)
    warnings: tuple[Problem, ...] = ()
    catalogs: tuple[CatalogRule, ...] = ()
    policies: tuple[Policy, ...] = ()

    def __post_init__(self) -> None:
        # They are gone through more than once: an iterator would be empty by then, and nothing be copied.
        for name in ("rules", "warnings", "catalogs", "policies"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
