"""Collisions: rules that write the same place at a destination, found before anything is written.

Different sources for one tag are an error: which of them stays would be chance. The same source twice is a warning.
Where a registry has to be asked for its tags, what can be known beforehand is a warning too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.config.images import PlacedRule
    from image_syncer.oci import Reference, Repository

__all__ = ["find_collisions"]

_OTHER_PLACE = "give one of them another repository or tag"

_MOST_LISTINGS = 16
"""Rules with listed tags into one repository that are compared with others; more only repeat the warning."""


def find_collisions(rules: Sequence[PlacedRule]) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings about rules that write the same place."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    written: dict[Reference, tuple[Reference, PlacedRule]] = {}
    listings: dict[Repository, list[PlacedRule]] = {}
    for placed in rules:
        if placed.rule.tags.needs_listing:
            for destination in placed.rule.destinations:
                listings.setdefault(destination.repository, []).append(placed)
            continue
        for source, target in placed.rule.pairs():
            if source == target:
                warnings.append(_problem(placed, f"{source} is copied to itself"))
            other_source, other = written.setdefault(target, (source, placed))
            if other_source != source and target.digest is None:
                what = f"{target} is also written from {other_source} ({_place(other)})"
                errors.append(_problem(placed, what, _OTHER_PLACE))
            elif other_source == source and other is not placed:
                what = f"{source} to {target} is already written at {_place(other)}"
                warnings.append(_problem(placed, what))
    warnings.extend(_overlaps(written, listings))
    return errors, warnings


def _overlaps(
    written: dict[Reference, tuple[Reference, PlacedRule]], listings: dict[Repository, list[PlacedRule]]
) -> Iterable[Problem]:
    for repository, placed_rules in listings.items():
        first, *others = placed_rules[:_MOST_LISTINGS]
        for other in others:
            if _is_one_list(other, first):
                continue  # looked at when the tags are known, before anything moves
            if other.rule.source != first.rule.source:
                what = (
                    f"tags that both {other.rule.source} and {first.rule.source} ({_place(first)}) have "
                    f"overwrite each other in {repository}"
                )
                yield _problem(other, what, "give one of them another repository")
            elif other.rule.tags == first.rule.tags:
                what = f"{other.rule.source} to {repository} is already written at {_place(first)}"
                yield _problem(other, what)
    for target, (source, placed) in written.items():
        for listing in listings.get(target.repository, ())[:_MOST_LISTINGS]:
            if target.tag is None or not listing.rule.tags.select([target.tag]):
                continue
            if _is_one_list(placed, listing):
                continue
            if source.repository == listing.rule.source and source.tag == target.tag:
                yield _problem(placed, f"{source} to {target} is already part of {_place(listing)}")
            else:
                what = f"{target} may also be written from {listing.rule.source} ({_place(listing)})"
                yield _problem(placed, what, _OTHER_PLACE)


def _is_one_list(one: PlacedRule, other: PlacedRule) -> bool:
    return one.rule.group is not None and one.rule.group == other.rule.group


def _place(placed: PlacedRule) -> str:
    return f"{placed.file}:{placed.line}" if placed.line else f"{placed.file} {placed.key}"


def _problem(placed: PlacedRule, what: str, mend: str | None = None) -> Problem:
    return Problem(placed.file, placed.line or None, placed.key, what, mend)
