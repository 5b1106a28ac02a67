"""The keys of a registry's entry that say where its redirects may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.registry import RedirectPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.entry_fields import EntryFields

__all__ = ["SAFETY_KEYS", "merge_redirects", "read_redirects"]

SAFETY_KEYS = ("allow_local_redirects", "allow_plain_redirects")


def read_redirects(entry: EntryFields) -> RedirectPolicy:
    """What the entry allows."""
    return RedirectPolicy(local=entry.flag("allow_local_redirects"), plain=entry.flag("allow_plain_redirects"))


def merge_redirects(policies: Iterable[RedirectPolicy]) -> RedirectPolicy:
    """What all entries of a host allow together: whatever one of them does."""
    together = list(policies)
    return RedirectPolicy(local=any(each.local for each in together), plain=any(each.plain for each in together))
