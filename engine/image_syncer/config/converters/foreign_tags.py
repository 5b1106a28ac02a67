"""What other tools say of tags, as the `tags` of rules: alternatives become rules of their own, since conditions of one
rule hold together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config.converters.foreign_ranges import ForeignRange

__all__ = ["Choice"]


class Choice(Value, frozen=True):
    """Conditions that hold together. `regex` and each of `without` are expressions that are looked for anywhere."""

    regex: str | None = None
    within: ForeignRange | None = None
    without: tuple[str, ...] = ()
    newest: int | None = None

    def tags(self) -> dict[str, object]:
        """The values of `tags`."""
        values: dict[str, object] = {}
        if self.regex is not None:
            values["regex"] = self.regex
        without = [*self.without, *(self.within.without if self.within else ())]
        if without:
            values["exclude_regex"] = "|".join(without)
        if self.within is not None:
            values["versions"] = self.within.within
        if self.newest is not None:
            values["newest"] = self.newest
        if self.within is not None and self.within.prereleases:
            values["prereleases"] = True
        return values
