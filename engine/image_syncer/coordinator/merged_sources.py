"""Several sources into one repository: their tags are listed before anything begins, and must not collide."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from image_syncer.coordinator.rule_outcomes import destinations_of
from image_syncer.coordinator.rule_tags import pages_of_tags
from image_syncer.errors import ConfigurationError, Problem, SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from image_syncer.config import Rule
    from image_syncer.coordinator.listings import Listings
    from image_syncer.oci import Reference

__all__ = ["MergedSources"]

LISTS_AT_ONCE = 16
"""As many as rules whose tags are listed otherwise."""
MOST_PROBLEMS = 20
"""That are told; of more, only the first."""

_Page = tuple[list[str], int, bool]


class MergedSources:
    """Lists the tags of such rules once, and hands out what was listed. `now` is in Unix time."""

    def __init__(self, listings: Listings, now: float) -> None:
        self._listings = listings
        self._now = now
        self._listed: dict[int, list[_Page] | SyncError] = {}

    def find(self, rules: Mapping[int, Rule]) -> dict[int, Rule]:
        """Those of `rules` that come from one list and share a repository, where tags have to be listed to compare."""
        groups: dict[tuple[str, str], list[int]] = {}
        for number, rule in rules.items():
            if rule.group is not None:
                for place in {str(destination.repository) for destination in rule.destinations}:
                    groups.setdefault((rule.group, place), []).append(number)
        merged = [
            number
            for numbers in groups.values()
            if len(numbers) > 1 and any(rules[one].tags.needs_listing for one in numbers)
            for number in numbers
        ]
        return {number: rules[number] for number in dict.fromkeys(merged)}

    async def look(self, rules: Mapping[int, Rule]) -> None:
        """List the tags of `rules`. Raises ConfigurationError where two of them write one place. What cannot be listed
        is told when its pages are asked for.
        """
        gate = asyncio.Semaphore(LISTS_AT_ONCE)
        await asyncio.gather(*(self._look(number, rule, gate) for number, rule in rules.items()))
        written: dict[Reference, tuple[Reference, Rule]] = {}
        problems: list[Problem] = []
        for number, rule in rules.items():
            listed = self._listed[number]
            tags = [] if isinstance(listed, SyncError) else [tag for page in listed for tag in page[0]]
            for position, source in enumerate(rule.references(tags)):
                for place in destinations_of(rule, source, position):
                    other, its_rule = written.setdefault(place, (source, rule))
                    if its_rule.group == rule.group and other != source and place.digest is None:
                        problems.append(_problem(rule, f"{source} and {other} would both go to {place}"))
        if problems:
            raise ConfigurationError(problems[:MOST_PROBLEMS])

    async def _look(self, number: int, rule: Rule, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                async with aclosing(pages_of_tags(rule, self._listings, self._now)) as pages:
                    self._listed[number] = [page async for page in pages]
            except SyncError as error:
                self._listed[number] = error

    async def pages(self, number: int, rule: Rule) -> AsyncGenerator[_Page, None]:
        """As `pages_of_tags`, without asking again."""
        listed = self._listed.pop(number, None)
        if isinstance(listed, SyncError):
            raise listed
        if listed is not None:
            for page in listed:
                yield page
            return
        async with aclosing(pages_of_tags(rule, self._listings, self._now)) as pages:
            async for page in pages:
                yield page


def _problem(rule: Rule, what: str) -> Problem:
    file, _, line = rule.origin.rpartition(":")
    mend = "leave one of them out, or write ** in the destination for the name of each"
    if not line.isdigit():
        return Problem(rule.origin, None, None, what, mend)
    return Problem(file, int(line), None, what, mend)
