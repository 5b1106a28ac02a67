"""Our own format: any file with `version: 2` at its top. Keys it does not know are errors.

The keys of a rule whose source is a pattern over the repositories of a registry.

Fields of a rule that stand beside its tags: its sources, and which of its tags are copied.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.catalogs import CatalogRule, is_pattern, parse_pattern, parse_template, translate_glob
from image_syncer.config.environment import BROKEN_REFERENCE, ExpansionError, expand
from image_syncer.config.fields import read_count, read_fields, read_flag, read_mapping, read_text, read_texts
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.config.images import PlacedRule, read_platforms, read_rule, read_source
from image_syncer.config.only import Only
from image_syncer.config.registries import read_registries
from image_syncer.config.rules import RuleError, check_globs, parse_expression, parse_regex
from image_syncer.config.tag_selection import TagSelection
from image_syncer.config.tree import MappingNode, Node, ScalarNode, SequenceNode
from image_syncer.oci import is_tag
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config.catalogs import Template
    from image_syncer.config.entry_fields import Dialect
    from image_syncer.config.registry_book import RegistryEntry
    from image_syncer.config.versions import VersionSelection
    from image_syncer.oci import Platform, Repository

__all__ = [
    "CATALOG_KEYS",
    "OWN_KEYS",
    "RULE_KEYS",
    "TAG_KEYS",
    "fill_destinations",
    "is_own_format",
    "lacks_version",
    "read_catalog_rule",
    "read_only",
    "read_own",
    "read_sources",
]


def read_sources(fields: Mapping[str, Node], key: str, findings: Findings) -> list[Node]:
    """The nodes of all sources of a rule, each once."""
    node, path = fields.get("source"), key_path(key, "source")
    if not isinstance(node, SequenceNode):
        return [] if node is None else [node]
    sources: dict[str, Node] = {}
    for item in read_texts(node, path, findings):
        if item.text in sources:
            findings.warn(item.line, path, f"the source “{shown(item.text)}” is written twice", "leave one out")
        sources.setdefault(item.text, item)
    return list(sources.values())


def read_only(node: Node | None, path: str, findings: Findings) -> Only:
    """What `only` says; all tags where it says nothing."""
    text = "" if node is None else read_text(node, path, findings) or ""
    if node is not None and text and text not in {each.value for each in Only}:
        words = ", ".join(each.value for each in Only)
        findings.error(node.line, path, f"{shown(text)} is none of {words}", f"write one of {words}")
        return Only.ALL
    return Only(text) if text else Only.ALL


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


OWN_KEYS = ("version", "registries", "rules", "policy")
"""Keys at the top."""

RULE_KEYS = ("source", "destination", "platforms", "tags", "referrers", "min_tags", "only", *CATALOG_KEYS)
"""Keys of a rule."""

VERSION_KEYS = ("versions", "prereleases", "newest", "suffix")
"""Keys of `tags` that are about versions."""

TAG_KEYS = ("include", "exclude", "regex", "exclude_regex", "created", *VERSION_KEYS)
"""Keys of `tags` in a rule."""

_VERSION = "2"


def is_own_format(node: Node) -> bool:
    """Whether the file says which version of our format it is. (In an auth file, `version` would be a mapping; in an
    images file, a number cannot be meant as a destination.)
    """
    version = node.get("version") if isinstance(node, MappingNode) else None
    return isinstance(version, ScalarNode) and version.text[:1].isdigit()


def lacks_version(node: Node) -> bool:
    """Whether the file has a key of ours that nothing else is called, and does not say `version`."""
    rules = node.get("rules") if isinstance(node, MappingNode) else None
    return isinstance(rules, SequenceNode) and any(isinstance(item, MappingNode) for item in rules.items)


def read_own(
    node: MappingNode, findings: Findings, dialect: Dialect
) -> tuple[tuple[RegistryEntry, ...], list[PlacedRule | CatalogRule]]:
    """The entries and the rules of a file in our format."""
    fields = read_fields(node, OWN_KEYS, "", findings, strict=True)
    version = fields["version"]
    if isinstance(version, ScalarNode) and version.text != _VERSION:
        findings.error(version.line, "version", f"version {shown(version.text)} is not known", "write version: 2")
    registries, rules = fields.get("registries"), fields.get("rules")
    return (
        read_registries(registries, "registries", findings, dialect) if registries else (),
        _read_rules(rules, findings, dialect) if rules else [],
    )


def _read_rules(node: Node, findings: Findings, dialect: Dialect) -> list[PlacedRule | CatalogRule]:
    if isinstance(node, ScalarNode) and node.is_null:
        return []
    if not isinstance(node, SequenceNode):
        findings.error(node.line, "rules", "no list", "begin every rule with “- source: …”")
        return []
    return [
        rule for index, item in enumerate(node.items) for rule in _read_rule(item, f"rules[{index}]", findings, dialect)
    ]


def _read_rule(node: Node, key: str, findings: Findings, dialect: Dialect) -> list[PlacedRule | CatalogRule]:
    """A rule for each of its sources."""
    mapping = read_mapping(node, key, findings)
    if mapping is None:
        return []
    fields = read_fields(mapping, RULE_KEYS, key, findings, strict=True)
    for name in ("source", "destination"):
        if name not in fields:
            findings.error(mapping.line, key, f"the rule has no {name}", f"write {name}: quay.io/org/app")
    path = key_path(key, "platforms")
    items = read_texts(fields["platforms"], path, findings) if "platforms" in fields else ()
    platforms = read_platforms([(item.text, item.line) for item in items], path, findings)
    referrers = None
    if "referrers" in fields:
        from image_syncer.config.referrer_fields import read_referrer_selection

        referrers = read_referrer_selection(fields["referrers"], key_path(key, "referrers"), findings)
    only = read_only(fields.get("only"), key_path(key, "only"), findings)
    sources = read_sources(fields, key, findings)
    if not any(isinstance(source, ScalarNode) and is_pattern(source.text) for source in sources):
        for name in CATALOG_KEYS:
            if name in fields and not (name == "flatten" and len(sources) > 1):
                findings.error(
                    fields[name].line,
                    key_path(key, name),
                    f"`{name}`, and the source is one repository",
                    "write a pattern in the source: registry.example.com/team/**",
                )
    group = f"{findings.file} {key}" if len(sources) > 1 else None
    rules: list[PlacedRule | CatalogRule] = []
    for source in sources or (None,):
        one = {name: value for name, value in fields.items() if name != "source"}
        one |= {} if source is None else {"source": source}
        rule = _read_one(one, (mapping.line, key), findings, dialect, platforms)
        if isinstance(rule, CatalogRule):
            rules.append(replace(rule, referrers=referrers, only=only))
        elif rule is not None:
            rules.append(replace(rule, rule=replace(rule.rule, referrers=referrers, only=only, group=group)))
    return rules


def _read_one(
    fields: dict[str, Node],
    place: tuple[int, str],
    findings: Findings,
    dialect: Dialect,
    platforms: tuple[Platform, ...],
) -> PlacedRule | CatalogRule | None:
    """The rule of one source; `place` is its line and path."""
    key = place[1]
    errors_before = len(findings.errors)
    written = fields.get("source")
    if isinstance(written, ScalarNode) and is_pattern(written.text):
        tags = _read_tags(fields["tags"], key_path(key, "tags"), findings) if "tags" in fields else TagSelection()
        tags = _read_min_tags(tags, fields, key, findings)
        return read_catalog_rule(fields, place, findings, dialect, tags=tags, platforms=platforms)
    source = _read_source(fields, key, findings)
    rule = None
    if "destination" in fields:
        path = key_path(key, "destination")
        destination = fields["destination"]
        if source is not None:
            destination = fill_destinations(source[0].name, fields, key, findings, dialect)
        rule = read_rule(source, destination, path, place, findings, dialect, platforms)
    return None if len(findings.errors) > errors_before else rule


def _read_source(fields: dict[str, Node], key: str, findings: Findings) -> tuple[Repository, TagSelection] | None:
    tags = fields.get("tags")
    selection = _read_tags(tags, key_path(key, "tags"), findings) if tags else TagSelection()
    if "source" not in fields:
        return None
    node, path = fields["source"], key_path(key, "source")
    text = read_text(node, path, findings)
    source = read_source(text, node.line, path, findings) if text is not None else None
    if source is None:
        return None
    if selection == TagSelection():
        return source[0], _read_min_tags(source[1], fields, key, findings)
    if source[1] != TagSelection():
        findings.error(
            node.line,
            path,
            "tags are chosen twice: in the source and under `tags`",
            "leave them out of the source",
        )
        return None
    return source[0], _read_min_tags(selection, fields, key, findings)


def _read_min_tags(selection: TagSelection, fields: dict[str, Node], key: str, findings: Findings) -> TagSelection:
    """`selection` with the guard of the rule, if it has one."""
    node, path = fields.get("min_tags"), key_path(key, "min_tags")
    least = None if node is None else read_count(node, path, findings)
    if node is None or least is None:
        return selection
    most = selection.most
    if most is not None and most < least:
        findings.error(
            node.line, path, f"at least {least} tags, and the rule means {most} at most", "write a lower number"
        )
    return replace(selection, min_tags=least)


def _read_tags(node: Node, key: str, findings: Findings) -> TagSelection:
    selection = TagSelection()
    mapping = read_mapping(node, key, findings)
    if mapping is None:
        return selection
    fields = read_fields(mapping, TAG_KEYS, key, findings, strict=True)
    for name, value in fields.items():
        if name in VERSION_KEYS:
            continue
        path = key_path(key, name)
        if name == "created":
            from image_syncer.config.created import read_created

            selection = replace(selection, created=read_created(value, path, findings))
            continue
        try:
            if name in {"regex", "exclude_regex"}:
                regex = parse_regex(read_text(value, path, findings) or "") or None
                is_wanted = name == "regex"
                selection = replace(selection, regex=regex) if is_wanted else replace(selection, exclude_regex=regex)
                continue
            globs = tuple(item.text for item in read_texts(value, path, findings))
            check_globs(globs)
            selection = replace(selection, include=globs) if name == "include" else replace(selection, exclude=globs)
        except RuleError as error:
            findings.error(value.line, path, error.what, error.mend)
    if any(name in fields for name in VERSION_KEYS):
        selection = replace(selection, versions=_read_versions(fields, key, findings))
    return selection


def _read_versions(fields: dict[str, Node], key: str, findings: Findings) -> VersionSelection | None:
    from image_syncer.config.versions import VersionError, VersionSelection, check_range

    versions, newest, suffix = (fields.get(name) for name in ("versions", "newest", "suffix"))
    within = None
    if versions is not None and (text := read_text(versions, key_path(key, "versions"), findings)) is not None:
        try:
            within = check_range(text)
        except VersionError as error:
            mend = "write such as >=1.20 <2, ^1.2, 1.x, or * for every version"
            findings.error(versions.line, key_path(key, "versions"), f"“{shown(text)}”: {error}", mend)
    ending = "" if suffix is None else read_text(suffix, key_path(key, "suffix"), findings) or ""
    if suffix is not None and not is_tag(f"1{ending}"):
        findings.error(suffix.line, key_path(key, "suffix"), f"no tag ends with “{shown(ending)}”")
    selection = VersionSelection(
        within,
        "prereleases" in fields and read_flag(fields["prereleases"], key_path(key, "prereleases"), findings),
        None if newest is None else read_count(newest, key_path(key, "newest"), findings),
        ending,
    )
    if selection.within is None and selection.newest is None:
        for name in ("prereleases", "suffix"):
            if name in fields and versions is None and newest is None:
                findings.error(
                    fields[name].line, key_path(key, name), f"{name} without versions", 'write versions: "*" for all'
                )
        return None
    return selection
