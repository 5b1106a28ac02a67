"""The Go tool's files: `--auth` and `--images`, or both in one as `auth` and `images` (`--config`).

Keys it does not know are a warning: the Go tool passes over them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.fields import read_fields, read_mapping
from image_syncer.config.findings import Findings, key_path
from image_syncer.config.images import PlacedRule, read_rule, read_source
from image_syncer.config.registries import read_registries
from image_syncer.config.tree import MappingNode, Node

if TYPE_CHECKING:
    from image_syncer.config.entry_fields import Dialect
    from image_syncer.config.registry_book import RegistryEntry

__all__ = ["GO_KEYS", "is_go_config", "read_go_auth", "read_go_config", "read_go_images"]

GO_KEYS = ("auth", "images")
"""Keys of the single file."""


def is_go_config(node: Node) -> bool:
    """Whether it is the single file, with both keys and nothing else."""
    return isinstance(node, MappingNode) and {name.text for name, _ in node.entries} == set(GO_KEYS)


def read_go_auth(node: Node, findings: Findings, dialect: Dialect, key: str = "") -> tuple[RegistryEntry, ...]:
    """The entries of an auth file."""
    return read_registries(node, key, findings, dialect)


def read_go_images(node: Node, findings: Findings, dialect: Dialect, key: str = "") -> list[PlacedRule]:
    """The rules of an images file."""
    mapping = read_mapping(node, key, findings)
    rules = []
    for source, destinations in mapping.entries if mapping else ():
        path = key_path(key, source.text)
        parsed = read_source(source.text, source.line, path, findings)
        rule = read_rule(parsed, destinations, path, (source.line, path), findings, dialect)
        if rule is not None:
            rules.append(rule)
    return rules


def read_go_config(
    node: Node, findings: Findings, dialect: Dialect
) -> tuple[tuple[RegistryEntry, ...], list[PlacedRule]]:
    """The entries and the rules of the single file."""
    mapping = read_mapping(node, "", findings)
    if mapping is None:
        return (), []
    fields = read_fields(mapping, GO_KEYS, "", findings, strict=False, any_case=dialect.any_case)
    auth, images = fields.get("auth"), fields.get("images")
    return (
        read_go_auth(auth, findings, dialect, "auth") if auth else (),
        read_go_images(images, findings, dialect, "images") if images else [],
    )
