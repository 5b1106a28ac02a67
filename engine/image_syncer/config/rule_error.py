"""What is wrong with a rule."""

from __future__ import annotations

__all__ = ["RuleError"]


class RuleError(ValueError):
    """A source or destination that cannot be used: what is wrong, and what to write instead."""

    def __init__(self, what: str, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend
