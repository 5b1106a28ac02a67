"""The JSON schema of our own format, for editors and for other programs: `schema.json` beside this module.

The loader checks the files of a run, with lines and mends. The schema has the same keys and forms of values, and
describes each key, which `config check` shows beside a mistake.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator


_INDEX = lazy_pattern(r"\[[0-9]+\]")


def schema_path() -> Path:
    """Return the path of the schema on this machine."""
    return Path(__file__).with_name("schema.json")


def schema_text() -> str:
    """Return the text of the schema: JSON Schema, draft 2020-12."""
    return schema_path().read_text(encoding="utf-8")


def describe_key(path: str) -> tuple[str, str] | None:
    """Return name and description of the key at a path such as `rules[0] › tags › newest`. None for keys that the
    schema does not know, and at the top.
    """
    schema: Any = json.loads(schema_text())
    places, found = [schema], None
    for depth, part in enumerate(path.split(" › ")):
        name = _INDEX.sub("", part)
        here = list(_resolved(schema, places))
        known = [one["properties"][name] for one in here if name in one.get("properties", {})]
        text = next((one["description"] for one in known if "description" in one), None)
        found = (name, text) if depth and text is not None else None
        named = [one["additionalProperties"] for one in here if isinstance(one.get("additionalProperties"), dict)]
        places = known or named
        if part != name:
            places = [one["items"] for one in _resolved(schema, places) if "items" in one]
    return found


def _resolved(schema: Any, places: list[Any]) -> Iterator[Any]:
    """Yield the places with everything that they refer to or choose from."""
    for place in places:
        yield place
        if "$ref" in place:
            yield from _resolved(schema, [schema["$defs"][place["$ref"].rpartition("/")[2]]])
        yield from _resolved(schema, place.get("anyOf", []))
