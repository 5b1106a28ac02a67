"""Images: from the nodes of a source and its destinations to a rule that knows where it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.environment import BROKEN_REFERENCE, ExpansionError, expand
from image_syncer.config.fields import read_texts
from image_syncer.config.findings import Findings, shown
from image_syncer.config.model import Rule
from image_syncer.config.rules import RuleError, check_destination, parse_destination, parse_source
from image_syncer.oci import InvalidPlatform, parse_platform
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.entry_fields import Dialect
    from image_syncer.config.model import Destination
    from image_syncer.config.tag_selection import TagSelection
    from image_syncer.config.tree import Node, ScalarNode
    from image_syncer.oci import Platform, Repository

__all__ = ["PlacedRule", "read_platforms", "read_rule", "read_source"]


class PlacedRule(Value, frozen=True):
    """A rule and where it was written; `line` counts from 1 (0: in no file), `key` is its path inside the file."""

    rule: Rule
    file: str
    line: int | None
    key: str


def read_source(text: str, line: int | None, key: str, findings: Findings) -> tuple[Repository, TagSelection] | None:
    """The source a text means, or None after an error."""
    try:
        repository, selection = parse_source(text)
    except RuleError as error:
        findings.error(line, key, error.what, error.mend)
        return None
    _, slash, name = str(repository).partition("library/")
    if slash and "." in name and text.partition(":")[0] == name:
        findings.warn(
            line,
            key,
            f"“{shown(text)}” means {repository}",
            "a registry alone is no source: name a repository in it",
        )
    return repository, selection


def read_rule(
    source: tuple[Repository, TagSelection] | None,
    node: Node,
    key: str,
    place: tuple[int, str],
    findings: Findings,
    dialect: Dialect,
    platforms: tuple[Platform, ...] = (),
) -> PlacedRule | None:
    """The rule from a source that was read and the node of its destinations.

    `key` is the path of that node, `place` the line and path of the rule. None after an error; the mistakes of the
    destinations are found even where the source has one.
    """
    errors_before = len(findings.errors)
    destinations: dict[Destination, None] = {}
    for item in read_texts(node, key, findings):
        destination = _read_destination(item, key, findings, dialect)
        if destination is None or source is None:
            continue
        try:
            check_destination(source[1], destination)
        except RuleError as error:
            findings.error(item.line, key, error.what, error.mend)
            continue
        if destination in destinations:
            findings.warn(item.line, key, f"the destination “{shown(item.text)}” is written twice", "leave one out")
        destinations[destination] = None
    if source is None or len(findings.errors) > errors_before or not destinations:
        return None
    line, rule_key = place
    rule = Rule(source[0], source[1], tuple(destinations), platforms, findings.place(line, rule_key))
    return PlacedRule(rule, findings.file, line, rule_key)


def read_platforms(texts: Iterable[tuple[str, int | None]], key: str, findings: Findings) -> tuple[Platform, ...]:
    """The platforms that texts name, each once; the texts come with their lines."""
    platforms: dict[Platform, None] = {}
    for text, line in texts:
        try:
            platforms[parse_platform(text)] = None
        except InvalidPlatform as error:  # noqa: PERF203 - every mistake is told, not the first
            findings.error(line, key, str(error))
    return tuple(platforms)


def _read_destination(item: ScalarNode, key: str, findings: Findings, dialect: Dialect) -> Destination | None:
    written = "" if item.is_null else item.text
    try:
        text = expand(written, dialect.destinations, dialect.environ)
        if text == written:
            return parse_destination(text)
    except ExpansionError as error:
        name = error.name
        what = f"the environment variable {name} is not set" if name else BROKEN_REFERENCE
        findings.error(item.line, key, what, f"export {name}=…" if name else "write ${NAME}")
        return None
    except RuleError as error:
        findings.error(item.line, key, error.what, error.mend)
        return None
    try:
        return parse_destination(text)
    except RuleError:
        # The values of variables stay out of messages: one of them may be a secret in the wrong place.
        findings.error(
            item.line,
            key,
            f"“{shown(written)}” is not the name of an image once its variables have their values",
            "print the variables, and compare with quay.io/org/app",
        )
        return None
