"""JSON from untrusted sources: read within bounds, or refused with a sentence for people.

Two programs must never read one document differently: a name that occurs twice in one object (RFC 8259, section 4,
leaves open which one counts) is refused, and so is a name of the format in another case, because readers written in Go
ignore case.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import orjson

from image_syncer.redaction import quoted

MAX_MANIFEST_BYTES = 4 * 2**20
"""The maximum size, which registries accept at least (OCI distribution specification 1.1)."""
MAX_DEPTH = 32
"""Levels of nesting; the formats need 5."""
MAX_ENTRIES = 10_000
"""Layers of one image, or manifests of one index."""

_FIELDS = frozenset(
    {
        "annotations", "architecture", "artifacttype", "blobs", "blobsum", "config", "data", "digest",
        "fslayers", "layers", "manifests", "mediatype", "os", "os.features", "os.version", "platform",
        "schemaversion", "signatures", "size", "subject", "urls", "variant",
    }
)  # fmt: skip


class InvalidManifest(ValueError):  # noqa: N818 - the field's word, and what the caller asks about
    """A document that cannot be used as a manifest; the message is a sentence for people."""


def shown(value: object) -> str:
    """Return an untrusted `value` for a message: short, on one line, without control characters."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    return orjson.dumps(value).decode()


def parse_document(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`, which is UTF-8.

    Raises InvalidManifest for anything else, for repeated names, and beyond MAX_MANIFEST_BYTES or MAX_DEPTH.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise InvalidManifest(f"the manifest has {len(raw)} bytes, more than the {MAX_MANIFEST_BYTES} that are read")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidManifest(f"the manifest is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidManifest(f"the manifest is not a JSON object but {shown(document)}")
    _check_depth(document)
    json.loads(raw.decode(), object_pairs_hook=_check_names)
    return document


def compact_json(document: dict[str, Any]) -> bytes:
    """Return compact JSON. orjson would change whole numbers beyond 64 bits in unknown fields."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _check_depth(document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise InvalidManifest(f"the manifest nests deeper than {MAX_DEPTH} levels")


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        folded = name.casefold()
        key = folded if folded in _FIELDS else name
        if key in seen:
            raise InvalidManifest(
                f"the manifest names {shown(name)} twice in one object, so that readers would differ about it"
            )
        seen.add(key)


def read_object(value: object, where: str) -> dict[str, Any]:
    """Return `value` as an object; raises InvalidManifest."""
    if not isinstance(value, dict):
        _refuse(where, "an object", value)
    return value


def read_text(fields: dict[str, Any], name: str, where: str) -> str | None:
    """Return the text under `name`, None where it is missing or null; raises InvalidManifest."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        _refuse(f"{where}{name}", "text", value)
    return value


def read_list(fields: dict[str, Any], name: str, where: str) -> list[Any]:
    """Return the list under `name`, empty where it is missing or null (Go's empty list); raises InvalidManifest."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        _refuse(f"{where}{name}", "a list", value)
    if len(value) > MAX_ENTRIES:
        raise InvalidManifest(f"{where}{name} has {len(value)} entries, more than the {MAX_ENTRIES} that are read")
    return value


def read_strings(fields: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    """Return the list of texts under `name`, empty where it is missing or null; raises InvalidManifest."""
    values = read_list(fields, name, where)
    for position, value in enumerate(values):
        if not isinstance(value, str):
            _refuse(f"{where}{name}[{position}]", "text", value)
    return tuple(values)


def _refuse(where: str, wanted: str, value: object) -> NoReturn:
    raise InvalidManifest(f"{where} must be {wanted}, not {shown(value)}")
