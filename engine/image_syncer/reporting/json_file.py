"""JSON files that people give: reading them, and the checks of what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import orjson

from image_syncer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


MOST = 2.0**63
"""No size, count or number of seconds is larger; arithmetic on what is smaller stays finite."""


def read_file(path: str, noun: str, hint: str) -> bytes:
    """The bytes of a file that `noun` names. Raises ConfigurationError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{noun} {path} cannot be read: {error.strerror}", hint=hint) from None


def read_json(path: str, noun: str, hint: str) -> Any:
    """What is in a JSON file that `noun` names. Raises ConfigurationError where it cannot be read."""
    raw = read_file(path, noun, hint)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        what = "is empty" if not raw.strip() else f"is not JSON: {error.msg} (line {error.lineno})"
        raise ConfigurationError(f"{noun} {path} {what}", hint=hint) from None


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is a number from 0 on, and no boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < MOST


def is_whole(value: object, at_least: int = 0) -> TypeGuard[int]:
    """Return whether `value` is a whole number, and no boolean, from `at_least` on."""
    return isinstance(value, int) and not isinstance(value, bool) and at_least <= value < MOST


def is_list_of(value: object, kind: type[Any]) -> TypeGuard[list[Any]]:
    """Return whether `value` is a list of `kind`."""
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


def text_in(data: Mapping[str, Any], name: str) -> str:
    """The text under `name`. Raises ValueError where it is something else."""
    value = data.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def optional_text_in(data: Mapping[str, Any], name: str) -> str | None:
    """The text under `name`, or None. Raises ValueError where it is something else."""
    return None if data.get(name) is None else text_in(data, name)


def texts_in(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The list of texts under `name`; empty where there is none. Raises ValueError where it is something else."""
    value = data.get(name, [])
    if not is_list_of(value, str):
        raise ValueError(f"{name} is no list of texts")
    return tuple(value)


def whole_in(data: Mapping[str, Any], name: str, at_least: int = 0) -> int:
    """The whole number under `name`. Raises ValueError where it is something else."""
    value = data.get(name)
    if not is_whole(value, at_least):
        raise ValueError(f"{name} is no whole number from {at_least} on")
    return value


def number_in(data: Mapping[str, Any], name: str) -> float:
    """The number under `name`. Raises ValueError where it is something else."""
    value = data.get(name)
    if not is_number(value):
        raise ValueError(f"{name} is no number from 0 on")
    return float(value)
