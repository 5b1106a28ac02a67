"""The key of a registry's entry that says whether missing repositories are created there, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.fields import read_fields, read_flag, read_mapping, read_text
from image_syncer.config.findings import key_path
from image_syncer.config.tree import MappingNode
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config.entry_fields import EntryFields
    from image_syncer.config.tree import Node

__all__ = ["CREATION_KEYS", "RepositoryTemplate", "read_creation"]

CREATION_KEYS: tuple[str, ...] = ("create_repositories",)

_FIELDS = ("tags", "immutable", "scan_on_push", "kms_key", "public")


class RepositoryTemplate(Value, frozen=True):
    """What a repository or project is given that is created for an image; None leaves it to the registry.

    `tags` (names and values), `immutable` (tags cannot be moved) and `kms_key` (the name or ARN of what content is
    encrypted with) are of Amazon ECR, `public` (anybody may read) is of Harbor, `scan_on_push` of both.
    """

    create: bool = True
    """False: none is created, whatever is said of the rest of the registry."""
    tags: tuple[tuple[str, str], ...] = ()
    immutable: bool | None = None
    scan_on_push: bool | None = None
    kms_key: str | None = None
    public: bool | None = None


def read_creation(entry: EntryFields) -> RepositoryTemplate | None:
    """What the entry says: `true`, `false` or a mapping; None where it says nothing."""
    node = entry.fields.get("create_repositories")
    if node is None:
        return None
    key, findings = entry.key("create_repositories"), entry.findings
    if not isinstance(node, MappingNode):
        return RepositoryTemplate(create=read_flag(node, key, findings))
    fields = read_fields(node, _FIELDS, key, findings, strict=entry.dialect.strict, any_case=entry.dialect.any_case)

    def flag(name: str) -> bool | None:
        value = fields.get(name)
        return None if value is None else read_flag(value, key_path(key, name), findings)

    kms_key = fields.get("kms_key")
    return RepositoryTemplate(
        tags=_tags(fields.get("tags"), key_path(key, "tags"), entry),
        immutable=flag("immutable"),
        scan_on_push=flag("scan_on_push"),
        kms_key=None if kms_key is None else read_text(kms_key, key_path(key, "kms_key"), findings) or None,
        public=flag("public"),
    )


def _tags(node: Node | None, key: str, entry: EntryFields) -> tuple[tuple[str, str], ...]:
    mapping = None if node is None else read_mapping(node, key, entry.findings)
    if mapping is None:
        return ()
    return tuple(
        (name.text, text)
        for name, value in mapping.entries
        if (text := read_text(value, key_path(key, name.text), entry.findings)) is not None
    )
