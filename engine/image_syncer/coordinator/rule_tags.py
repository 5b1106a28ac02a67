"""The tags that a rule means, as the registry lists them."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from image_syncer.config import Rule
    from image_syncer.coordinator.listings import Listings

__all__ = ["pages_of_tags"]

PILE = 1000
"""Tags that are compared with those selected so far at one time; as many as these, where they are more. Page by page, a
selection of the newest thousand would look at a thousand tags again for each page of ten.
"""


async def pages_of_tags(
    rule: Rule, listings: Listings, now: float
) -> AsyncGenerator[tuple[list[str], int, bool], None]:
    """Tags out of which `rule` selects, how many the registry listed for them, and whether they are the last. `now` is
    in Unix time.

    Raises SyncError where they cannot be listed, or are fewer than the rule wants at least.
    """
    if not rule.tags.needs_listing:
        yield [], 0, True
        return
    kept: list[str] = []
    pile: list[str] = []
    listed, least, created = 0, rule.tags.min_tags, rule.tags.created
    async with aclosing(listings.tags(rule.source)) as pages:
        async for tags, last in pages:
            if not rule.tags.compares:
                kept += rule.tags.select(tags)
            else:
                pile += tags
                if last or len(pile) >= max(PILE, len(kept)):
                    kept, pile = rule.tags.select([*kept, *pile]), []
            listed += len(tags)
            if not last and (rule.tags.compares or created is not None or len(kept) < least):
                continue
            if created is not None:
                kept = created.select(kept, await listings.times.find(rule.source, kept), now)
            if len(kept) < least:
                raise _too_few(len(kept), listed, least)
            yield kept, listed, last
            kept, listed, least = [], 0, 0  # there were enough, whatever comes


def _too_few(chosen: int, listed: int, least: int) -> SyncError:
    return SyncError(
        f"the rule means {chosen:,} of the {listed:,} tags that the registry lists, and wants {least:,} at least",
        origin=Origin.SOURCE,
        hint="See what is gone at the source, or lower `min_tags`.",
    )
