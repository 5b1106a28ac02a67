"""The tags that a rule means, page by page: which they are, and how often each is looked at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import TagSelection
from image_syncer.config.tag_filters import VersionSelection
from image_syncer.coordinator.rules import PILE, pages_of_tags

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable


@dataclass
class Counting:
    """The selection of `of`, which counts the tags that it was asked about."""

    of: TagSelection
    asked: int = 0
    most: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)

    def select(self, listed: Iterable[str]) -> list[str]:
        tags = list(listed)
        self.asked += len(tags)
        self.most = max(self.most, len(tags))
        return self.of.select(tags)


@dataclass
class Pages:
    tags: list[str]
    size: int
    times: Any = field(default=None)

    async def __call__(self, _source: object) -> AsyncGenerator[tuple[list[str], bool], None]:
        for begin in range(0, len(self.tags), self.size):
            yield self.tags[begin : begin + self.size], begin + self.size >= len(self.tags)


def selected(selection: TagSelection | Counting, tags: list[str], page: int) -> tuple[list[str], int]:
    """What is meant, and how many were listed."""

    async def collect() -> tuple[list[str], int]:
        found: list[str] = []
        listed = 0
        rule: Any = SimpleNamespace(tags=selection, source="r.example.com/team/app")
        listings: Any = SimpleNamespace(tags=Pages(tags, page), times=None)
        async for chosen, seen, _last in pages_of_tags(rule, listings, 0.0):
            found += chosen
            listed += seen
        return found, listed

    return asyncio.run(collect())


TAGS = [f"v1.{number * 7919 % 4000}.0" for number in range(4000)]  # in no order


@pytest.mark.parametrize("newest", [1, 3, PILE - 1, PILE, PILE + 1, 4000])
@pytest.mark.parametrize("page", [7, 1000, 4000])
def test_the_newest_are_the_same_however_the_list_is_cut(newest: int, page: int) -> None:
    selection = TagSelection(versions=VersionSelection(newest=newest))
    assert selected(selection, TAGS, page) == (selection.select(TAGS), 4000)


@pytest.mark.parametrize("newest", [5, 1000, 3000])
def test_no_tag_is_compared_many_times(newest: int) -> None:
    counting = Counting(TagSelection(versions=VersionSelection(newest=newest)))
    found, _ = selected(counting, TAGS, 10)
    assert len(found) == newest
    assert counting.asked <= 3 * len(TAGS)
    assert counting.most <= newest + max(newest, PILE)


def test_without_a_comparison_each_page_is_looked_at_once() -> None:
    counting = Counting(TagSelection(include=("v1.1*",)))
    found, listed = selected(counting, TAGS, 10)
    assert found == [tag for tag in TAGS if tag.startswith("v1.1")]
    assert counting.asked == listed == 4000
    assert counting.most == 10
