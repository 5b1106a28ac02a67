"""A grant: what a cloud gave, and for how long; and why one gave nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.registry import Credential

__all__ = ["ExtraMissingError", "Grant", "NoIdentityError"]


class Grant(Value, frozen=True):
    """A credential, who gave it (for messages), and the seconds that it lives from now; None: it does not expire."""

    credential: Credential
    source: str
    lives_s: float | None


class NoIdentityError(Exception):
    """Nothing on this machine says who we are to this cloud; its registry is asked as anybody may ask it."""


class ExtraMissingError(Exception):
    """The SDK of this cloud is not installed."""
