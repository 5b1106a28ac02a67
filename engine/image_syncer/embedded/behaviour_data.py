"""Behaviours as plain data: how they travel to a registry in another process."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any

from image_syncer.embedded.behaviour import (
    Behaviour,
    DigestHeader,
    LinkForm,
    LocationForm,
    PageMarker,
    TokenService,
)
from image_syncer.embedded.doubles import double_of
from image_syncer.embedded.fault import Fault, FaultKind, RateLimit, RetryAfter, TextEnum

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["behaviour_to_data", "parse_behaviour"]

_ENUMS: dict[str, type[TextEnum]] = {
    "location_form": LocationForm,
    "link_form": LinkForm,
    "page_marker": PageMarker,
    "digest_header_on_get": DigestHeader,
    "digest_header_on_put": DigestHeader,
    "kind": FaultKind,
    "retry_after": RetryAfter,
}


def behaviour_to_data(behaviour: Behaviour) -> dict[str, Any]:
    """`behaviour` as plain data (for JSON); only what differs from the defaults."""
    return _fields_to_data(behaviour)


def parse_behaviour(data: Mapping[str, Any]) -> Behaviour:
    """The behaviour that `behaviour_to_data` described. Raises ValueError for unknown names or values."""
    parts = dict(data)
    try:
        if parts.get("bearer") is not None:
            parts["bearer"] = TokenService(**_parse_fields(parts["bearer"]))
        parts["faults"] = tuple(Fault(**_parse_fields(item)) for item in parts.get("faults", ()))
        parts["rate_limits"] = tuple(RateLimit(**_parse_fields(item)) for item in parts.get("rate_limits", ()))
        behaviour = Behaviour(**_parse_fields(parts))
    except TypeError as error:
        raise ValueError(f"not a behaviour: {error}") from error
    double_of(behaviour)
    return behaviour


def _fields_to_data(value: Behaviour | TokenService | Fault | RateLimit) -> dict[str, Any]:
    blank = Fault(operation="") if isinstance(value, Fault) else type(value)()
    return {
        item.name: _to_data(getattr(value, item.name))
        for item in fields(value)
        if getattr(value, item.name) != getattr(blank, item.name)
    }


def _to_data(value: object) -> object:
    if isinstance(value, (TokenService, Fault, RateLimit)):
        return _fields_to_data(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_to_data(item) for item in value]
    if isinstance(value, dict):
        return {name: _to_data(item) for name, item in value.items()}
    return value


def _parse_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for name, value in data.items():
        if name in _ENUMS:
            parsed[name] = _ENUMS[name](value)
        elif name == "permissions":
            parsed[name] = {user: tuple(actions) for user, actions in value.items()}
        elif name == "headers":
            parsed[name] = tuple((str(key), str(text)) for key, text in value)
        elif isinstance(value, list):
            parsed[name] = tuple(value)
        else:
            parsed[name] = value
    return parsed
