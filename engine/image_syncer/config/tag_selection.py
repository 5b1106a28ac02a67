"""Which tags of a repository a rule means."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.config.automaton import automaton_of
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.created import CreatedSelection
    from image_syncer.config.versions import VersionSelection
    from image_syncer.oci import Digest

__all__ = ["SOLE_IMAGE", "TagSelection"]

SOLE_IMAGE = ("",)
"""The names of a `TagSelection` that means the one image of a place, whatever its name (`layout/sole_image.py`)."""

_WILDCARDS = re.compile(r"[*?\[]")


class TagSelection(Value, frozen=True):
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
