"""Readers of the two formats: ours, any file with `version: 2` at its top, and the Go tool's.

The Go tool's files are `--auth` and `--images`, or both in one as `auth` and `images` (`--config`). Unknown keys are
errors in our format, and warnings in the Go tool's, which ignores them. `find_collisions` compares rules of all files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from image_syncer.config.document import MappingNode, Node, ScalarNode, SequenceNode
from image_syncer.config.fields import Fields, expand, read_fields, read_mapping, read_texts
from image_syncer.config.findings import Findings, RuleError, key_path, shown
from image_syncer.config.model import CatalogRule, Only, TagSelection
from image_syncer.config.regex import translate_glob, translate_regex
from image_syncer.config.registries import read_registries
from image_syncer.config.rules import (
    PlacedRule,
    check_globs,
    is_pattern,
    parse_pattern,
    parse_regex,
    parse_template,
    read_platforms,
    read_rule,
    read_source,
)
from image_syncer.errors import Problem
from image_syncer.oci import is_tag
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.config.fields import Dialect
    from image_syncer.config.model import Template
    from image_syncer.config.registry_book import RegistryEntry
    from image_syncer.config.tag_filters import VersionSelection
    from image_syncer.oci import Platform, Reference, Repository


GO_KEYS = ("auth", "images")
"""Keys of the Go tool's single file."""
OWN_KEYS = ("version", "registries", "rules", "policy")
"""Keys at the top of our format."""
CATALOG_KEYS = ("match", "exclude", "exclude_regex", "min_repositories", "flatten")
"""Keys of a rule that only a pattern over repositories has."""
RULE_KEYS = ("source", "destination", "platforms", "tags", "referrers", "min_tags", "only", *CATALOG_KEYS)
VERSION_KEYS = ("versions", "prereleases", "newest", "suffix")
"""Keys of `tags` about versions."""
TAG_KEYS = ("include", "exclude", "regex", "exclude_regex", "created", *VERSION_KEYS)

_VERSION = "2"
_SEPARATORS = frozenset({"-", "_", ".", "__", "--"})
_OTHER_TAG = "give one of them another repository or tag"
_MOST_LISTINGS = 16
"""Rules with listed tags into one repository that are compared with others; more only repeat the warning."""


def is_go_config(node: Node) -> bool:
    """Return whether it is the Go tool's single file, with both keys and nothing else."""
    return isinstance(node, MappingNode) and {name.text for name, _ in node.entries} == set(GO_KEYS)


def read_go_images(node: Node, findings: Findings, dialect: Dialect, key: str = "") -> list[PlacedRule]:
    """Return the rules of an images file."""
    mapping = read_mapping(node, key, findings)
    rules = []
    for source, destinations in mapping.entries if mapping else ():
        path = key_path(key, source.text)
        parsed = read_source(source.text, source.line, path, findings)
        rules.append(read_rule(parsed, destinations, path, (source.line, path), findings, dialect))
    return [rule for rule in rules if rule is not None]


def read_go_config(
    node: Node, findings: Findings, dialect: Dialect
) -> tuple[tuple[RegistryEntry, ...], list[PlacedRule]]:
    """Return the entries and the rules of the single file."""
    fields = read_fields(node, GO_KEYS, "", findings, dialect)
    if fields is None:
        return (), []
    auth, images = fields.nodes.get("auth"), fields.nodes.get("images")
    return (
        read_registries(auth, "auth", findings, dialect) if auth else (),
        read_go_images(images, findings, dialect, "images") if images else [],
    )


def is_own_format(node: Node) -> bool:
    """Return whether the file names a version of our format. (In an auth file, `version` would be a mapping; in an
    images file, a number is no destination.)
    """
    version = node.get("version") if isinstance(node, MappingNode) else None
    return isinstance(version, ScalarNode) and version.text[:1].isdigit()


def lacks_version(node: Node) -> bool:
    """Return whether the file has `rules`, a key of ours alone, and no `version`."""
    rules = node.get("rules") if isinstance(node, MappingNode) else None
    return isinstance(rules, SequenceNode) and any(isinstance(item, MappingNode) for item in rules.items)


def read_own(
    node: MappingNode, findings: Findings, dialect: Dialect
) -> tuple[tuple[RegistryEntry, ...], list[PlacedRule | CatalogRule]]:
    """Return the entries and the rules of a file in our format."""
    fields = read_fields(node, OWN_KEYS, "", findings, dialect)
    if fields is None:
        return (), []
    version = fields.nodes["version"]
    if isinstance(version, ScalarNode) and version.text != _VERSION:
        fields.error("version", f"version {shown(version.text)} is not known", "write version: 2")
    registries, rules = fields.nodes.get("registries"), fields.nodes.get("rules")
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
    read = (read_fields(item, RULE_KEYS, f"rules[{at}]", findings, dialect) for at, item in enumerate(node.items))
    return [rule for fields in read if fields is not None for rule in _read_rule(fields)]


def _read_rule(fields: Fields) -> list[PlacedRule | CatalogRule]:
    """Return a rule for each source."""
    findings = fields.findings
    for name in ("source", "destination"):
        if name not in fields:
            findings.error(fields.line, fields.path, f"the rule has no {name}", f"write {name}: quay.io/org/app")
    texts = [(item.text, item.line) for item in fields.items("platforms")]
    platforms = read_platforms(texts, fields.key("platforms"), findings)
    referrers = None
    if "referrers" in fields:
        from image_syncer.config.referrers import read_referrer_selection

        referrers = read_referrer_selection(fields)
    only = Only(fields.choice("only", [each.value for each in Only]) or Only.ALL)
    sources = _read_sources(fields)
    if not any(isinstance(source, ScalarNode) and is_pattern(source.text) for source in sources):
        for name in CATALOG_KEYS:
            if name in fields and not (name == "flatten" and len(sources) > 1):
                what = f"`{name}`, and the source is one repository"
                fields.error(name, what, "write a pattern in the source: registry.example.com/team/**")
    group = f"{findings.file} {fields.path}" if len(sources) > 1 else None
    rules: list[PlacedRule | CatalogRule] = []
    for source in sources or (None,):
        one = {name: node for name, node in fields.nodes.items() if name != "source"}
        rule = _read_one(replace(fields, nodes=one if source is None else one | {"source": source}), platforms)
        if isinstance(rule, CatalogRule):
            rules.append(replace(rule, referrers=referrers, only=only))
        elif rule is not None:
            rules.append(replace(rule, rule=replace(rule.rule, referrers=referrers, only=only, group=group)))
    return rules


def _read_sources(fields: Fields) -> list[Node]:
    """Return the nodes of all sources of a rule, each once."""
    node = fields.nodes.get("source")
    if not isinstance(node, SequenceNode):
        return [] if node is None else [node]
    path, sources = fields.key("source"), dict[str, Node]()
    for item in read_texts(node, path, fields.findings):
        if item.text in sources:
            what = f"the source “{shown(item.text)}” is written twice"
            fields.findings.warn(item.line, path, what, "leave one out")
        sources.setdefault(item.text, item)
    return list(sources.values())


def _read_one(fields: Fields, platforms: tuple[Platform, ...]) -> PlacedRule | CatalogRule | None:
    """Return the rule of one source."""
    errors_before = len(fields.findings.errors)
    tags = _read_tags(fields)
    written = fields.nodes.get("source")
    if isinstance(written, ScalarNode) and is_pattern(written.text):
        return _read_catalog_rule(fields, _with_min_tags(tags, fields), platforms)
    source = _read_source(fields, tags)
    rule = None
    if "destination" in fields:
        destination = fields.nodes["destination"] if source is None else _fill_destinations(source[0].name, fields)
        place = (fields.line, fields.path)
        rule = read_rule(
            source, destination, fields.key("destination"), place, fields.findings, fields.dialect, platforms
        )
    return None if len(fields.findings.errors) > errors_before else rule


def _read_source(fields: Fields, tags: TagSelection) -> tuple[Repository, TagSelection] | None:
    node = fields.nodes.get("source")
    if node is None:
        return None
    if not isinstance(node, ScalarNode):
        fields.text("source")  # reports it
        return None
    source = read_source(fields.text("source"), node.line, fields.key("source"), fields.findings)
    if source is None:
        return None
    repository, selection = source
    if tags != TagSelection():
        if selection != TagSelection():
            what = "tags are chosen twice: in the source and under `tags`"
            fields.error("source", what, "leave them out of the source")
            return None
        selection = tags
    return repository, _with_min_tags(selection, fields)


def _with_min_tags(selection: TagSelection, fields: Fields) -> TagSelection:
    least = fields.count("min_tags")
    if least is None:
        return selection
    if selection.most is not None and selection.most < least:
        what = f"at least {least} tags, and the rule means {selection.most} at most"
        fields.error("min_tags", what, "write a lower number")
    return replace(selection, min_tags=least)


def _read_tags(rule: Fields) -> TagSelection:
    fields = rule.fields("tags", TAG_KEYS)
    if fields is None:
        return TagSelection()
    found: dict[str, Any] = {}
    for name in fields.nodes:
        if name == "created":
            from image_syncer.config.tag_filters import read_created

            found[name] = read_created(fields)
        elif name in {"regex", "exclude_regex"}:
            found[name] = fields.parsed(name, parse_regex) or None
        elif name not in VERSION_KEYS:
            globs = fields.texts(name)
            try:
                check_globs(globs)
                found[name] = globs
            except RuleError as error:
                fields.error(name, error.what, error.mend)
    if any(name in fields for name in VERSION_KEYS):
        found["versions"] = _read_versions(fields)
    return replace(TagSelection(), **found)


def _read_versions(fields: Fields) -> VersionSelection | None:
    from image_syncer.config.tag_filters import VersionSelection, check_range

    within = fields.parsed("versions", check_range)
    suffix = fields.text("suffix")
    if "suffix" in fields and not is_tag(f"1{suffix}"):
        fields.error("suffix", f"no tag ends with “{shown(suffix)}”")
    selection = VersionSelection(within, fields.flag("prereleases"), fields.count("newest"), suffix)
    if selection.within is not None or selection.newest is not None:
        return selection
    if "versions" not in fields and "newest" not in fields:
        for name in ("prereleases", "suffix"):
            if name in fields:
                fields.error(name, f"{name} without versions", 'write versions: "*" for all')
    return None


def _read_catalog_rule(fields: Fields, tags: TagSelection, platforms: tuple[Platform, ...]) -> CatalogRule | None:
    """Return the rule whose source is a pattern, None after an error."""
    errors_before = len(fields.findings.errors)
    registry, glob = fields.parsed("source", parse_pattern) or ("", "")
    pattern = translate_glob(glob)
    if "match" in fields:
        if pattern and glob != "**":
            fields.error("match", "`match`, and a pattern in the source", f"write {registry}/**")
        pattern = fields.parsed("match", translate_regex) or pattern
    excluded = tuple(map(translate_glob, fields.texts("exclude")))
    exclude_regex = fields.parsed("exclude_regex", translate_regex) or None
    least = fields.count("min_repositories")
    templates = _read_templates(fields, re.compile(pattern).groups)
    if len(fields.findings.errors) > errors_before or not templates:
        return None
    origin = fields.findings.place(fields.line, fields.path)
    rule = CatalogRule(registry, pattern, fields.text("source"), excluded, tags, templates, platforms, origin)
    return replace(rule, exclude_regex=exclude_regex, min_repositories=least or 0)


def _fill_destinations(name: str, fields: Fields) -> Node:
    """Return the destinations of a rule for the one repository `name`, with its name in place of `**`."""
    node = fields.nodes["destination"]
    items = node.items if isinstance(node, SequenceNode) else (node,)
    if not any(isinstance(item, ScalarNode) and "**" in item.text for item in items):
        return node
    flatten = _read_flatten(fields)
    return SequenceNode(tuple(_filled(item, name, flatten, fields) for item in items), node.line)


def _filled(item: Node, name: str, flatten: str | None, fields: Fields) -> Node:
    match = re.fullmatch(".+", name)
    if not isinstance(item, ScalarNode) or "**" not in item.text or match is None:
        return item
    template = _read_template(item, fields, 0, flatten)
    if template is None:
        return item
    try:
        return replace(item, text=str(template.repository_for(match)))
    except RuleError as error:
        fields.findings.error(item.line, fields.key("destination"), error.what, error.mend)
        return item


def _read_templates(fields: Fields, groups: int) -> tuple[Template, ...]:
    flatten = _read_flatten(fields)
    found = (_read_template(item, fields, groups, flatten) for item in fields.items("destination"))
    return tuple(dict.fromkeys(template for template in found if template is not None))


def _read_flatten(fields: Fields) -> str | None:
    if "flatten" not in fields:
        return None
    flatten = fields.text("flatten")
    if flatten not in _SEPARATORS:
        what = f"“{shown(flatten)}” cannot stand between two parts of a name"
        fields.error("flatten", what, 'write "-", "_", "." or two of the first two')
    return flatten


def _read_template(item: ScalarNode, fields: Fields, groups: int, flatten: str | None) -> Template | None:
    dialect = fields.dialect

    def parse(text: str) -> Template:
        return parse_template(expand(text, dialect.destinations, dialect.environ), groups, flatten)

    return fields.findings.attempt(parse, item.text, item.line, fields.key("destination"))


def find_collisions(rules: Sequence[PlacedRule]) -> tuple[list[Problem], list[Problem]]:
    """Return errors and warnings about rules that write the same place at a destination.

    Different sources for one tag are an error: which of them stays would be chance. The same source twice is a warning.
    Where the registry has to list the tags, what is known before is a warning too.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    written: dict[Reference, tuple[Reference, PlacedRule]] = {}
    listings: dict[Repository, list[PlacedRule]] = {}
    for placed in rules:
        if placed.rule.tags.needs_listing:
            for destination in placed.rule.destinations:
                listings.setdefault(destination.repository, []).append(placed)
            continue
        for source, target in placed.rule.pairs():
            if source == target:
                warnings.append(_problem(placed, f"{source} is copied to itself"))
            other_source, other = written.setdefault(target, (source, placed))
            if other_source != source and target.digest is None:
                what = f"{target} is also written from {other_source} ({other})"
                errors.append(_problem(placed, what, _OTHER_TAG))
            elif other_source == source and other is not placed:
                warnings.append(_problem(placed, f"{source} to {target} is already written at {other}"))
    return errors, [*warnings, *_overlaps(written, listings)]


def _overlaps(
    written: dict[Reference, tuple[Reference, PlacedRule]], listings: dict[Repository, list[PlacedRule]]
) -> Iterable[Problem]:
    for repository, placed_rules in listings.items():
        first, *others = placed_rules[:_MOST_LISTINGS]
        for other in others:
            if _is_one_list(other, first):
                continue  # the run compares them when it knows the tags, before anything moves
            if other.rule.source != first.rule.source:
                what = (
                    f"tags that both {other.rule.source} and {first.rule.source} ({first}) have "
                    f"overwrite each other in {repository}"
                )
                yield _problem(other, what, "give one of them another repository")
            elif other.rule.tags == first.rule.tags:
                yield _problem(other, f"{other.rule.source} to {repository} is already written at {first}")
    for target, (source, placed) in written.items():
        for listing in listings.get(target.repository, ())[:_MOST_LISTINGS]:
            if target.tag is None or not listing.rule.tags.select([target.tag]) or _is_one_list(placed, listing):
                continue
            if source.repository == listing.rule.source and source.tag == target.tag:
                yield _problem(placed, f"{source} to {target} is already part of {listing}")
            else:
                what = f"{target} may also be written from {listing.rule.source} ({listing})"
                yield _problem(placed, what, _OTHER_TAG)


def _is_one_list(one: PlacedRule, other: PlacedRule) -> bool:
    return one.rule.group is not None and one.rule.group == other.rule.group


def _problem(placed: PlacedRule, what: str, mend: str | None = None) -> Problem:
    return Problem(placed.file, placed.line or None, placed.key, what, mend)
