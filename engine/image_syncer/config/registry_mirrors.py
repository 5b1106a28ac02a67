"""The key of a registry's entry that names its mirrors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.findings import shown
from image_syncer.oci import InvalidReference, canonical_registry, parse_repository

if TYPE_CHECKING:
    from image_syncer.config.entry_fields import EntryFields

__all__ = ["MIRROR_KEYS", "read_mirrors"]

MIRROR_KEYS = ("mirrors",)
_MEND = "write mirror.example:5000, or mirror.example/proxy-cache where the names there begin with that"


def read_mirrors(entry: EntryFields, prefix: str) -> tuple[str, ...]:
    """The mirrors of the registry of `prefix`: each a host, and perhaps what the names there begin with."""
    found = []
    for text in entry.texts("mirrors"):
        mirror = text.strip().rstrip("/")
        host, _, path = mirror.partition("/")
        try:
            is_one = parse_repository(f"{mirror}/image").registry == canonical_registry(host) and "://" not in mirror
        except InvalidReference:
            is_one = False
        if not is_one:
            problem = f"“{shown(text)}” is no mirror"
        elif canonical_registry(host) == prefix.partition("/")[0] and not path:
            problem = f"“{shown(text)}” is the registry itself"
        else:
            found.append(f"{canonical_registry(host)}/{path}" if path else canonical_registry(host))
            continue
        entry.findings.error(entry.line("mirrors"), entry.key("mirrors"), problem, _MEND)
    return tuple(found)
