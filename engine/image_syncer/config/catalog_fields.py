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
from image_syncer.config.fields import read_text, read_texts
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.config.rules import RuleError, parse_expression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config.catalogs import Template
    from image_syncer.config.entry_fields import Dialect
    from image_syncer.config.model import TagSelection
    from image_syncer.config.tree import Node
    from image_syncer.oci import Platform

__all__ = ["CATALOG_KEYS", "read_catalog_rule"]

CATALOG_KEYS = ("match", "exclude", "flatten")
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
        pattern = _read_match(fields["match"], key_path(key, "match"), findings) or pattern
    excluded = [
        translate_glob(item.text)
        for item in (read_texts(fields["exclude"], key_path(key, "exclude"), findings) if "exclude" in fields else ())
    ]
    templates = _read_templates(fields, key, findings, dialect, groups=_groups(pattern))
    if len(findings.errors) > errors_before or not templates:
        return None
    return CatalogRule(
        registry, pattern, source, tuple(excluded), tags, templates, platforms, f"{findings.file}:{line}"
    )


def _groups(pattern: str) -> int:
    return re.compile(pattern).groups


def _read_match(node: Node, path: str, findings: Findings) -> str | None:
    try:
        return parse_expression(read_text(node, path, findings) or "")
    except RuleError as error:
        findings.error(node.line, path, error.what, error.mend)
        return None


def _read_templates(
    fields: Mapping[str, Node], key: str, findings: Findings, dialect: Dialect, *, groups: int
) -> tuple[Template, ...]:
    flatten = None
    if "flatten" in fields:
        flatten = read_text(fields["flatten"], key_path(key, "flatten"), findings)
        if flatten not in _SEPARATORS:
            findings.error(
                fields["flatten"].line,
                key_path(key, "flatten"),
                f"“{shown(flatten or '')}” cannot stand between two parts of a name",
                'write "-", "_", "." or two of the first two',
            )
    if "destination" not in fields:
        return ()
    path = key_path(key, "destination")
    templates: dict[Template, None] = {}
    for item in read_texts(fields["destination"], path, findings):
        try:
            text = expand(item.text, dialect.destinations, dialect.environ)
            templates[parse_template(text, groups, flatten)] = None
        except ExpansionError as error:  # noqa: PERF203 - every mistake is told, not the first
            what = f"the environment variable {error.name} is not set" if error.name else BROKEN_REFERENCE
            findings.error(item.line, path, what, f"export {error.name}=…" if error.name else "write ${NAME}")
        except RuleError as error:
            findings.error(item.line, path, error.what, error.mend)
    return tuple(templates)
