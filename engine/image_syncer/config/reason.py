"""One reason why an image is in or out."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Reason"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition of a rule: whether it `holds` (None: the registry's list decides, and was not asked for)."""

    holds: bool | None
    text: str
