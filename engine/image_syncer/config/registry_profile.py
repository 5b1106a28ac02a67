"""The key of a registry's entry that says what kind of registry it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.config.fields import read_count, read_fields, read_flag, read_size, read_text
from image_syncer.config.findings import key_path, nearest, shown
from image_syncer.config.tree import MappingNode
from image_syncer.registry import (
    MAX_PAGE_SIZE,
    OVERRIDABLE_FLAGS,
    OVERRIDABLE_SIZES,
    PROFILES,
    Mounts,
    Profile,
    recognise_host,
)
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.config.entry_fields import EntryFields
    from image_syncer.config.findings import Findings
    from image_syncer.config.tree import Node

__all__ = ["PROFILE_FIELDS", "PROFILE_KEYS", "merge_profiles", "read_profile"]

PROFILE_KEYS = ("profile",)

PROFILE_FIELDS = ("kind", "mounts", "page_size", *OVERRIDABLE_FLAGS, *OVERRIDABLE_SIZES)
"""What the value of `profile` may have, where it is more than a name."""


def read_profile(entry: EntryFields, registry: str) -> Profile | None:
    """The profile that the entry gives to the host `registry`; None where it gives none."""
    node = entry.fields.get("profile")
    if node is None:
        return None
    key, findings = entry.key("profile"), entry.findings
    if not isinstance(node, MappingNode):
        return _named(node, key, findings)
    fields = read_fields(node, PROFILE_FIELDS, key, findings, strict=True)
    kind = fields.get("kind")
    base = recognise_host(registry) if kind is None else _named(kind, key_path(key, "kind"), findings)
    return None if base is None else replace(base, **_overrides(fields, key, findings))


def merge_profiles(profiles: Iterable[Profile | None]) -> Profile | None:
    """The profile of a host out of those of all its entries: the first that is given."""
    return next((profile for profile in profiles if profile is not None), None)


def _named(node: Node, key: str, findings: Findings) -> Profile | None:
    name = read_text(node, key, findings)
    if not name:
        return None
    if name not in PROFILES:
        guess = nearest(name, tuple(PROFILES))
        known = f"known are {', '.join(PROFILES)}"
        findings.error(
            node.line, key, f"“{shown(name)}” is no profile", f"did you mean “{guess}”? {known}" if guess else known
        )
    return PROFILES.get(name)


def _overrides(fields: Mapping[str, Node], key: str, findings: Findings) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, node in fields.items():
        path = key_path(key, name)
        if name in OVERRIDABLE_FLAGS:
            values[name] = read_flag(node, path, findings)
        elif name in OVERRIDABLE_SIZES:
            size = read_size(node, path, findings)
            if size == 0:
                findings.error(node.line, path, "0 is no size of a piece", "write a size: 16MiB")
            values[name] = size
        elif name == "page_size":
            values[name] = _page_size(node, path, findings)
        elif name == "mounts":
            values[name] = _mounts(node, path, findings)
    return {name: value for name, value in values.items() if value is not None}


def _page_size(node: Node, key: str, findings: Findings) -> int | None:
    count = read_count(node, key, findings, least=0)
    if count is not None and count > MAX_PAGE_SIZE:
        findings.error(node.line, key, f"{count} names at once are too many", f"write at most {MAX_PAGE_SIZE}")
    return count


def _mounts(node: Node, key: str, findings: Findings) -> Mounts | None:
    text = read_text(node, key, findings)
    if not text:
        return None
    words = tuple(mounts.value for mounts in Mounts)
    if text not in words:
        findings.error(node.line, key, f"“{shown(text)}” does not say where mounts work", f"write {' or '.join(words)}")
        return None
    return Mounts(text)
