"""Expansion of catalog rules to rules, one for each repository that a registry lists."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from image_syncer.config import Rule, RuleError
from image_syncer.errors import AuthenticationError, ConfigurationError, Origin, Problem, SyncError, visible
from image_syncer.oci import InvalidReference
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from image_syncer.config.model import CatalogRule
    from image_syncer.discovery.listings import Listings
    from image_syncer.oci import Repository


MOST_SHOWN = 255
"""Characters of an invalid repository name that are shown: as many as a name may have."""
MOST_PROBLEMS = 20
NAMES_AT_ONCE = 1000
"""After so many the loop runs other tasks and handles signals: a registry may list a million."""


class Expanded(Value, frozen=True):
    """`rules` for what the registries list. `failed` are catalog rules whose registry gave no list, with the error;
    `unusable` are listed names that are not valid, with their rules; `empty` rules match no repository.
    """

    rules: tuple[Rule, ...] = ()
    failed: tuple[tuple[CatalogRule, SyncError], ...] = ()
    unusable: tuple[tuple[CatalogRule, str], ...] = ()
    empty: tuple[CatalogRule, ...] = ()


async def expand_catalogs(catalogs: Sequence[CatalogRule], rules: Iterable[Rule], listings: Listings) -> Expanded:
    """The rules for `catalogs`, with each registry asked once. `rules` are the other rules of the run.

    Raises ConfigurationError where two repositories would be copied to the same one, where a destination is no valid
    name, and where the same rule would find a copy again.
    """
    owners: dict[str, dict[str, None]] = {}
    for catalog in catalogs:
        owners.setdefault(catalog.registry, {})[catalog.owner] = None
    listed = await asyncio.gather(*(_names_of(listings, registry, list(each)) for registry, each in owners.items()))
    by_registry = dict(zip(owners, listed, strict=True))
    found: list[Rule] = []
    failed: list[tuple[CatalogRule, SyncError]] = []
    unusable: list[tuple[CatalogRule, str]] = []
    empty: list[CatalogRule] = []
    problems: list[Problem] = []
    for catalog in catalogs:
        names = by_registry[catalog.registry][catalog.owner]
        if isinstance(names, SyncError):
            failed.append((catalog, names))
            continue
        before, begun = len(found), len(found) + len(unusable)
        for number, name in enumerate(names, 1):
            if number % NAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                rule = catalog.rule_for(name)
            except InvalidReference:
                unusable.append((catalog, visible(name[:MOST_SHOWN])))
            except RuleError as error:
                problems.append(_problem(catalog.origin, error.what))
            else:
                found += [] if rule is None else [rule]
        problems += islice((circle for rule in found[before:] for circle in _circles(catalog, rule)), 1)
        meant = len(found) + len(unusable) - begun
        too_few = _too_few(meant, len(names), catalog.min_repositories)
        if too_few is not None:
            del found[before:]
            failed.append((catalog, too_few))
        elif not meant:
            empty.append(catalog)
    problems += _collisions(found, rules)
    if problems:
        raise ConfigurationError(problems[:MOST_PROBLEMS])
    return Expanded(_awake(found, catalogs), tuple(failed), tuple(unusable), tuple(empty))


def _awake(found: list[Rule], catalogs: Sequence[CatalogRule]) -> tuple[Rule, ...]:
    """The rules of this run. The others take part in the check for collisions."""
    resting = frozenset[str]().union(*(catalog.resting for catalog in catalogs))
    wanted = [catalog.looked_at for catalog in catalogs if catalog.looked_at is not None]
    looked_at = frozenset[str]().union(*wanted) if wanted else None
    if not resting and looked_at is None:
        return tuple(found)
    names = ((str(rule.source), rule) for rule in found)
    return tuple(rule for name, rule in names if name not in resting and (looked_at is None or name in looked_at))


async def _names_of(listings: Listings, registry: str, owners: list[str]) -> dict[str, list[str] | SyncError]:
    """The names that the registry lists, for each of `owners`; "" stands for all repositories."""
    try:
        by_owner = any(owners) and await listings.lists_by_owner(registry)
    except SyncError as error:
        return dict.fromkeys(owners, error)
    if not by_owner:
        return dict.fromkeys(owners, await _names(listings, registry, ""))
    found = await asyncio.gather(*(_names(listings, registry, owner) for owner in owners))
    return dict(zip(owners, found, strict=True))


async def _names(listings: Listings, registry: str, owner: str) -> list[str] | SyncError:
    try:
        return [name async for names, _last in listings.repositories(registry, owner) for name in names]
    except AuthenticationError as error:
        # The password for `/v2/` may be one that the registry's own API refuses.
        names = await _names(listings, registry, "") if owner else error
        return error if isinstance(names, SyncError) else names
    except SyncError as error:
        return error


def _circles(catalog: CatalogRule, rule: Rule) -> Iterator[Problem]:
    """Copies that the same rule would take for sources: every run would copy the copies of the last run."""
    for destination in rule.destinations:
        place = destination.repository
        if place.registry == catalog.registry and place != rule.source and catalog.means(place.name):
            what = f"{rule.source} would go to {place}, which the same rule would find and copy in the next run"
            yield _problem(catalog.origin, what, "exclude the names of the copies, or narrow the pattern")


def _collisions(found: Iterable[Rule], rules: Iterable[Rule]) -> list[Problem]:
    """Sources that would overwrite each other at the same destination. Rules that name a repository may do so on
    purpose, so only the rules of catalogs are checked.
    """
    owners: dict[Repository, Rule] = {
        destination.repository: rule for rule in rules for destination in rule.destinations
    }
    problems = []
    for rule in found:
        for destination in rule.destinations:
            other = owners.setdefault(destination.repository, rule)
            if other.source != rule.source:
                what = f"{rule.source} and {other.source} ({other.origin}) would both go to {destination.repository}"
                problems.append(_problem(rule.origin, what))
    return problems


def _too_few(meant: int, listed: int, least: int) -> SyncError | None:
    if meant >= least:
        return None
    return SyncError(
        f"the rule means {meant:,} of the {listed:,} repositories that the registry lists; it wants {least:,} at least",
        origin=Origin.SOURCE,
        hint="See what is gone at the source, or lower `min_repositories`.",
    )


def _problem(origin: str, what: str, mend: str = "exclude one of them, or write another destination") -> Problem:
    file, _, line = origin.rpartition(":")
    if not line.isdigit():
        return Problem(origin, None, None, what, mend)
    return Problem(file, int(line), None, what, mend)
