"""What a token says of itself, where it is a JSON web token (RFC 7519): when it is good, and for what.

Most registries' tokens are; those that are not say nothing, and nobody has to know why. Nothing is verified: that is
the registry's business, and the token itself is never shown.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.units import format_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.registry import Scope

__all__ = ["Claims", "read_claims"]

_PARTS = 3
_LAST_S = 1e11
"""The year 5138: what is later is no time."""


class Claims(Value, frozen=True):
    """`access` holds what is granted, as (resource, name, actions); None where the token does not say. Times are
    seconds since 1970, None where they are not told.
    """

    access: tuple[tuple[str, str, frozenset[str]], ...] | None
    begins: float | None
    ends: float | None

    def actions_on(self, scope: Scope) -> frozenset[str] | None:
        """What may be done with what `scope` is about; None where the token does not say."""
        if self.access is None:
            return None
        granted: frozenset[str] = frozenset()
        for resource, name, actions in self.access:
            if (resource, name) == (scope.resource, scope.name):
                granted |= actions
        return granted

    def trouble(self, now: float) -> str | None:
        """What is wrong with its times by our clock, if anything is."""
        if self.begins is not None and self.begins > now:
            return f"by the clock of this machine it is not good for another {format_duration(self.begins - now)}"
        if self.ends is not None and self.ends <= now:
            return f"by the clock of this machine it ended {format_duration(now - self.ends)} ago"
        if self.begins is not None and self.ends is not None and self.ends <= self.begins:
            return "it ends before it begins"
        return None


def read_claims(authorization: str | None) -> Claims | None:
    """The claims of a value for `Authorization`; None where it is no JSON web token."""
    scheme, _, token = (authorization or "").partition(" ")
    parts = token.split(".")
    if scheme.lower() != "bearer" or len(parts) != _PARTS:
        return None
    try:
        payload = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(payload, dict):
        return None
    return Claims(_access(payload.get("access")), _seconds(payload.get("nbf")), _seconds(payload.get("exp")))


def _access(value: Any) -> tuple[tuple[str, str, frozenset[str]], ...] | None:
    """Docker's "Token Authentication Implementation", the claim `access`."""
    if not isinstance(value, list):
        return None
    entries = [entry for entry in value if isinstance(entry, dict)]
    return tuple((str(entry.get("type")), str(entry.get("name")), _actions(entry.get("actions"))) for entry in entries)


def _actions(value: Any) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _LAST_S else None
