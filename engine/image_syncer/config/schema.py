"""The JSON schema of our own format, for editors and for other programs: `schema.json` beside this module.

Runs are checked by the loader, which knows lines and mends. The schema says the same of keys and of what their values
look like, and has a description of each, which `config check` tells where something is wrong with it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["describe_key", "schema_path", "schema_text"]

_INDEX = re.compile(r"\[[0-9]+\]")


def schema_path() -> Path:
    """Where the schema is on this machine."""
    return Path(__file__).with_name("schema.json")


def schema_text() -> str:
    """The schema: JSON Schema, draft 2020-12."""
    return schema_path().read_text(encoding="utf-8")


def describe_key(path: str) -> tuple[str, str] | None:
    """Name and description of the key at a path such as `rules[0] › tags › newest`. None where the schema does not
    know it, and at the top.
    """
    schema: Any = json.loads(schema_text())
    places, found = [schema], None
    for depth, part in enumerate(path.split(" › ")):
        name = _INDEX.sub("", part)
        here = list(_whole(schema, places))
        known = [one["properties"][name] for one in here if name in one.get("properties", {})]
        text = next((one["description"] for one in known if "description" in one), None)
        found = (name, text) if depth and text is not None else None
        named = [one["additionalProperties"] for one in here if isinstance(one.get("additionalProperties"), dict)]
        places = known or named
        if part != name:
            places = [one["items"] for one in _whole(schema, places) if "items" in one]
    return found


def _whole(schema: Any, places: list[Any]) -> Iterator[Any]:
    """The places with whatever they refer to or choose from."""
    for place in places:
        yield place
        if "$ref" in place:
            yield from _whole(schema, [schema["$defs"][place["$ref"].rpartition("/")[2]]])
        yield from _whole(schema, place.get("anyOf", []))
