"""The model: what the user wants copied, whatever spelling it was written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import field
from msgspec.structs import force_setattr

from image_syncer.config.only import Only
from image_syncer.config.registry_book import RegistryBook
from image_syncer.oci import Reference, Repository
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.config.catalogs import CatalogRule
    from image_syncer.config.policy import Policy
    from image_syncer.config.referrers import ReferrerSelection
    from image_syncer.config.tag_selection import TagSelection
    from image_syncer.errors import Problem
    from image_syncer.oci import Digest, Platform

__all__ = ["Configuration", "Destination", "Pin", "Rule"]


class Destination(Value, frozen=True):
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


class Pin(Value, frozen=True, eq=False):
    """What a plan found, and is to be done now: the digest of the `source`, and for each destination, by its name, what
    is to be pushed there (`digests`) and what was there (`there`, None: nothing).
    """

    source: Digest
    digests: Mapping[str, Digest]
    there: Mapping[str, Digest | None]


class Rule(Value, frozen=True):
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


class Configuration(Value, frozen=True):
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
            force_setattr(self, name, tuple(getattr(self, name)))
