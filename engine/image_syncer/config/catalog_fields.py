"""The keys of a rule whose source is a pattern over the repositories of a registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.catalogs import (
    CatalogRule,
    parse_pattern,
    parse_template,
    translate_glob,
)
from image_syncer.config.environment import BROKEN_REFERENCE, ExpansionError, expand
from image_syncer.config.fields import read_count, read_text, read_texts
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.config.rules import RuleError, parse_expression
from image_syncer.config.tree import ScalarNode, SequenceNode
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config.catalogs import Template
    from image_syncer.config.entry_fields import Dialect
    from image_syncer.config.tag_selection import TagSelection
    from image_syncer.config.tree import Node
    from image_syncer.oci import Platform

__all__ = ["CATALOG_KEYS", "fill_destinations", "read_catalog_rule"]

CATALOG_KEYS = ("match", "exclude", "exclude_regex", "min_repositories", "flatten")
"""Keys of a rule that only such a source has."""

_SEPARATORS = frozenset({"-", "_", ".", "__", "--"})


def read_catalog_rule(
    fields: Mapping[str, Node],
    place: tuple[int, str],
    findings: Findings,
    dialect: Dialect,
    *,
    tags: TagSelection,
    platforms: tuple[Platform, ...],
) -> CatalogRule | None:
    """The rule of `fields`, whose source is a pattern; `place` is its line and path. None after an error."""
    line, key = place
    errors_before = len(findings.errors)
    source = read_text(fields["source"], key_path(key, "source"), findings) or ""
    registry = pattern = ""
    try:
        registry, glob = parse_pattern(source)
        pattern = translate_glob(glob)
    except RuleError as error:
        findings.error(fields["source"].line, key_path(key, "source"), error.what, error.mend)
    if "match" in fields:
        if pattern and pattern != translate_glob("**"):
            findings.error(
                fields["match"].line,
                key_path(key, "match"),
                "`match`, and a pattern in the source",
                f"write {registry}/**",
            )
        pattern = _read_expression(fields["match"], key_path(key, "match"), findings) or pattern
    excluded = [
        translate_glob(item.text)
        for item in (read_texts(fields["exclude"], key_path(key, "exclude"), findings) if "exclude" in fields else ())
    ]
    exclude_regex = None
    if "exclude_regex" in fields:
        exclude_regex = _read_expression(fields["exclude_regex"], key_path(key, "exclude_regex"), findings) or None
    least = None
    if "min_repositories" in fields:
        least = read_count(fields["min_repositories"], key_path(key, "min_repositories"), findings)
    templates = _read_templates(fields, key, findings, dialect, groups=_groups(pattern))
    if len(findings.errors) > errors_before or not templates:
        return None
    origin = findings.place(line, key)
    rule = CatalogRule(registry, pattern, source, tuple(excluded), tags, templates, platforms, origin)
    return replace(rule, exclude_regex=exclude_regex, min_repositories=least or 0)


def fill_destinations(name: str, fields: Mapping[str, Node], key: str, findings: Findings, dialect: Dialect) -> Node:
    """The destinations of a rule for the one repository `name`, with its name where they have `**`."""
    node, path = fields["destination"], key_path(key, "destination")
    items = node.items if isinstance(node, SequenceNode) else (node,)
    if not any(isinstance(item, ScalarNode) and "**" in item.text for item in items):
        return node
    flatten = _read_flatten(fields, key, findings)
    filled = (_filled(item, name, flatten, path, findings, dialect) for item in items)
    return SequenceNode(tuple(filled), node.line)


def _filled(item: Node, name: str, flatten: str | None, path: str, findings: Findings, dialect: Dialect) -> Node:
    if not isinstance(item, ScalarNode) or "**" not in item.text:
        return item
    template = _read_template(item, path, findings, dialect, groups=0, flatten=flatten)
    match = re.fullmatch(".+", name)
    if template is None or match is None:
        return item
    try:
        return replace(item, text=str(template.repository_for(match)))
    except RuleError as error:
        findings.error(item.line, path, error.what, error.mend)
        return item


def _groups(pattern: str) -> int:
    return re.compile(pattern).groups


def _read_expression(node: Node, path: str, findings: Findings) -> str | None:
    try:
        return parse_expression(read_text(node, path, findings) or "")
    except RuleError as error:
        findings.error(node.line, path, error.what, error.mend)
        return None


def _read_templates(
    fields: Mapping[str, Node], key: str, findings: Findings, dialect: Dialect, *, groups: int
) -> tuple[Template, ...]:
    flatten = _read_flatten(fields, key, findings)
    if "destination" not in fields:
        return ()
    path = key_path(key, "destination")
    found = (
        _read_template(item, path, findings, dialect, groups=groups, flatten=flatten)
        for item in read_texts(fields["destination"], path, findings)
    )
    return tuple(dict.fromkeys(template for template in found if template is not None))


def _read_flatten(fields: Mapping[str, Node], key: str, findings: Findings) -> str | None:
    if "flatten" not in fields:
        return None
    flatten = read_text(fields["flatten"], key_path(key, "flatten"), findings)
    if flatten not in _SEPARATORS:
        findings.error(
            fields["flatten"].line,
            key_path(key, "flatten"),
            f"“{shown(flatten or '')}” cannot stand between two parts of a name",
            'write "-", "_", "." or two of the first two',
        )
    return flatten


def _read_template(
    item: ScalarNode, path: str, findings: Findings, dialect: Dialect, *, groups: int, flatten: str | None
) -> Template | None:
    try:
        text = expand(item.text, dialect.destinations, dialect.environ)
        return parse_template(text, groups, flatten)
    except ExpansionError as error:
        what = f"the environment variable {error.name} is not set" if error.name else BROKEN_REFERENCE
        findings.error(item.line, path, what, f"export {error.name}=…" if error.name else "write ${NAME}")
    except RuleError as error:
        findings.error(item.line, path, error.what, error.mend)
    return None
