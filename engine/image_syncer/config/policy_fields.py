"""The key `policy` of a file in our own format: one mapping, or a list of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.entry_fields import Dialect, EntryFields
from image_syncer.config.fields import read_fields, read_mapping
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.config.policy import (
    DEFAULT_COMMAND_TIMEOUT_S,
    NameLists,
    OnRefusal,
    Policy,
    PolicyCommand,
    parse_name_pattern,
)
from image_syncer.config.referrers import check_artifact
from image_syncer.config.rules import RuleError
from image_syncer.config.tree import MappingNode, SequenceNode
from image_syncer.units import parse_duration

if TYPE_CHECKING:
    from image_syncer.config.policy import NamePattern
    from image_syncer.config.tree import Node

__all__ = ["LIST_KEYS", "POLICY_KEYS", "read_policies"]

POLICY_KEYS = (
    "name",
    "to",
    "sources",
    "destinations",
    "require",
    "max_size",
    "max_age",
    "command",
    "timeout",
    "environment",
    "on_refusal",
)
"""Keys of a policy."""

LIST_KEYS = ("allow", "deny")
"""Keys of `sources` and `destinations` in a policy."""

_CONDITIONS = ("sources", "destinations", "require", "max_size", "max_age", "command")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def read_policies(node: Node, findings: Findings, dialect: Dialect, *, runs_programs: bool) -> tuple[Policy, ...]:
    """All policies below the node. Unless it `runs_programs`, the file may name none: it may be somebody else's."""
    policies = _read_policies(node, findings, dialect)
    if not runs_programs:
        items = node.items if isinstance(node, SequenceNode) else (node,)
        for command in [item.get("command") for item in items if isinstance(item, MappingNode)]:
            if command is not None:
                what = "a file that is given for its rules alone runs no program"
                mend = "write the policy into the file of --auth, or give this one as --config"
                findings.error(command.line, key_path("policy", "command"), what, mend)
    return policies


def _read_policies(node: Node, findings: Findings, dialect: Dialect) -> tuple[Policy, ...]:
    if not isinstance(node, SequenceNode):
        return _read_policy(node, "policy", findings, dialect)
    if not node.items:
        findings.error(node.line, "policy", "the list is empty, so everything may go out", "leave the key out")
    each = (_read_policy(item, f"policy[{index}]", findings, dialect) for index, item in enumerate(node.items))
    return tuple(policy for policies in each for policy in policies)


def _read_policy(node: Node, key: str, findings: Findings, dialect: Dialect) -> tuple[Policy, ...]:
    mapping = read_mapping(node, key, findings)
    if mapping is None:
        return ()
    errors_before = len(findings.errors)
    fields = read_fields(mapping, POLICY_KEYS, key, findings, strict=True)
    entry = EntryFields(fields, key, findings, dialect)
    if not any(name in fields for name in _CONDITIONS):
        what = "the policy asks for nothing, so everything may go out"
        findings.error(mapping.line, key, what, f"write at least one of {', '.join(_CONDITIONS)}")
    on_refusal = entry.choice("on_refusal", tuple(each.value for each in OnRefusal))
    policy = Policy(
        name=entry.text("name") or findings.place(mapping.line, key),
        to=_read_patterns(entry, "to"),
        sources=_read_lists(entry, "sources"),
        destinations=_read_lists(entry, "destinations"),
        require=_read_types(entry),
        max_bytes=entry.size("max_size"),
        max_age_s=_read_duration(entry, "max_age"),
        command=_read_command(entry),
        on_refusal=OnRefusal(on_refusal) if on_refusal else OnRefusal.FAIL,
    )
    return () if len(findings.errors) > errors_before else (policy,)


def _read_patterns(entry: EntryFields, name: str) -> tuple[NamePattern, ...]:
    patterns: dict[NamePattern, None] = {}
    for text in entry.texts(name):
        try:
            patterns[parse_name_pattern(text)] = None
        except RuleError as error:  # noqa: PERF203 - every mistake is told, not the first
            entry.findings.error(entry.line(name), entry.key(name), error.what, error.mend)
    return tuple(patterns)


def _read_lists(entry: EntryFields, name: str) -> NameLists:
    if name not in entry.fields:
        return NameLists()
    key, findings = entry.key(name), entry.findings
    mapping = read_mapping(entry.fields[name], key, findings)
    if mapping is None:
        return NameLists()
    lists = EntryFields(read_fields(mapping, LIST_KEYS, key, findings, strict=True), key, findings, entry.dialect)
    if not lists.fields:
        findings.error(mapping.line, key, "neither allow nor deny", "write allow: registry.example.com/**")
    return NameLists(_read_patterns(lists, "allow"), _read_patterns(lists, "deny"))


def _read_types(entry: EntryFields) -> tuple[str, ...]:
    types: dict[str, None] = {}
    for text in entry.texts("require"):
        try:
            types[check_artifact(text)] = None
        except ValueError as error:  # noqa: PERF203 - as above
            entry.findings.error(entry.line("require"), entry.key("require"), str(error))
    return tuple(types)


def _read_duration(entry: EntryFields, name: str) -> float | None:
    if name not in entry.fields:
        return None
    text = entry.text(name)
    try:
        if text[-1:].isalpha() and (seconds := parse_duration(text)) > 0:  # a number alone would be seconds
            return seconds
    except ValueError:
        pass
    entry.findings.error(entry.line(name), entry.key(name), f"“{shown(text)}” is no time", "write such as 90d or 30s")
    return None


def _read_command(entry: EntryFields) -> PolicyCommand | None:
    timeout_s = _read_duration(entry, "timeout")
    environment = entry.texts("environment")
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            what = f"“{shown(name)}” is no name of a variable"
            entry.findings.error(entry.line("environment"), entry.key("environment"), what, "write the name alone")
    if "command" not in entry.fields:
        for name in ("timeout", "environment"):
            if name in entry.fields:
                entry.findings.error(entry.line(name), entry.key(name), f"`{name}` without `command`")
        return None
    words = entry.texts("command")
    if words and not words[0].strip():
        entry.findings.error(entry.line("command"), entry.key("command"), "no program", "write [/path/of/program, …]")
        return None
    if len(words) == 1 and any(character.isspace() for character in words[0]):
        what = "the command is one word with blanks, and no shell takes it apart"
        entry.findings.error(entry.line("command"), entry.key("command"), what, "write a list: [program, argument]")
    if words and "/" in words[0]:
        words = (entry.dialect.find_file(words[0])[0], *words[1:])
    return PolicyCommand(words, timeout_s or DEFAULT_COMMAND_TIMEOUT_S, environment) if words else None
