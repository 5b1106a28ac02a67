"""One reason why an image is in or out."""

from __future__ import annotations

from image_syncer.values import Value

__all__ = ["Reason"]


class Reason(Value, frozen=True):
    """One condition of a rule: whether it `holds` (None: the registry's list decides, and was not asked for)."""

    holds: bool | None
    text: str
