"""What a token grants of what it was asked for, where its answer or the token itself says so."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING

import orjson

from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.registry.scope import Scope

__all__ = ["missing_scopes"]

_EVERYTHING = "*"
_JWT_PARTS = 3
_Granted = dict[tuple[str, str], set[str]]


def missing_scopes(wanted: Sequence[Scope], token: str, answered: object) -> tuple[Scope, ...]:
    """Of each of `wanted` the actions that were not granted; empty where all were, or where nobody says.

    A service may grant less than it was asked for, with status 200 (Docker Registry v2 authentication, "Token
    Authentication Specification"). `answered` is the field `scope` of its answer, which "OAuth2 Token Authentication"
    demands; else the claim `access` of a token that is a JWT says it ("Token Authentication Implementation"). Nothing
    else of the token is looked at, and nothing of it is returned: what is named are our own words.
    """
    granted = _of_field(answered)
    if granted is None:
        granted = _of_claims(token)
    if granted is None:
        return ()
    missing = []
    for scope in wanted:
        actions = granted.get((scope.resource, scope.name), set())
        left = () if _EVERYTHING in actions else tuple(each for each in scope.actions if each not in actions)
        if left:
            missing.append(replace(scope, actions=left))
    return tuple(missing)


def _of_field(answered: object) -> _Granted | None:
    if not isinstance(answered, str) or not answered.strip():
        return None
    granted: _Granted = {}
    for text in answered.split():
        resource, colon, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if not colon or not name:
            return None  # words of another dialect of OAuth2
        _note(granted, resource, name, actions.split(","))
    return granted


def _of_claims(token: str) -> _Granted | None:
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    try:
        claims = orjson.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    access = claims.get("access") if isinstance(claims, dict) else None
    if not isinstance(access, list):
        return None
    granted: _Granted = {}
    for entry in access:
        fields = entry if isinstance(entry, dict) else {}
        resource, name, actions = (fields.get(key) for key in ("type", "name", "actions"))
        if isinstance(resource, str) and isinstance(name, str) and isinstance(actions, list):
            _note(granted, resource, name, (each for each in actions if isinstance(each, str)))
    return granted


def _note(granted: _Granted, resource: str, name: str, actions: Iterable[str]) -> None:
    # The type may carry a class: repository(plugin).
    granted.setdefault((resource.partition("(")[0], name), set()).update(actions)
