"""A configuration from values of a program: what a file in our own format can say, said without one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.config.catalogs import CatalogRule
from image_syncer.config.entry_fields import Dialect
from image_syncer.config.environment import Expansion
from image_syncer.config.file_reading import find_readable
from image_syncer.config.findings import Findings
from image_syncer.config.loader import checked_configuration
from image_syncer.config.own_format import read_own
from image_syncer.config.place_rules import rule_from
from image_syncer.config.policy_fields import read_policies
from image_syncer.config.tree import MAX_DEPTH, MappingNode, ScalarNode, SequenceNode
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.config.data import PolicyData, RegistryData, RuleData
    from image_syncer.config.model import Configuration
    from image_syncer.config.tree import Node

__all__ = ["make_configuration"]

_FILE = "configuration"
"""Where mistakes are, for messages: there is no file."""


def make_configuration(
    *,
    rules: Iterable[RuleData] = (),
    registries: Mapping[str, RegistryData] | None = None,
    policies: Iterable[PolicyData] = (),
    directory: str | os.PathLike[str] = ".",
) -> Configuration:
    """What a file in our own format (docs/configuration.md) says, from a program: the same keys, with the same meaning
    and the same checks.

        make_configuration(
            rules=[{"source": "quay.io/coreos/etcd", "destination": "localhost:5000/etcd", "tags": {"newest": 3}}],
            registries={"localhost:5000": {"insecure": True}, "quay.io": {"proxy": "http://proxy.example.com:3128"}},
        )

    Every text is taken as it is: `${NAME}` in it stands for itself. None is the same as leaving the key out. Relative
    paths, of certificates and of layouts, are taken from `directory`. Without rules it is one for `plan` and `sync`
    to which `dataclasses.replace` gives others, such as those of `rule_from_arguments`.

    Raises ConfigurationError with every mistake: unknown keys, values that are none, two rules for one tag, files that
    cannot be read.
    """
    findings = Findings(_FILE)
    wanted = {"version": 2, "registries": {} if registries is None else registries, "rules": list(rules)}
    root = _node_of(wanted, "", 0)
    where = str(Path(directory).absolute())

    def find_file(name: str) -> tuple[str, bool]:
        return find_readable(where, name)

    dialect = Dialect(True, False, Expansion.BRACED, Expansion.BRACED, None, find_file)
    entries, found = read_own(root, findings, dialect) if isinstance(root, MappingNode) else ((), [])
    told = list(policies)
    read = read_policies(_node_of(told, "policies", 0), findings, dialect, runs_programs=True) if told else ()
    placed = [
        rule_from(where, each) if isinstance(each, CatalogRule) else replace(each, rule=rule_from(where, each.rule))
        for each in found
    ]
    return checked_configuration(entries, placed, read, findings.errors, findings.warnings)


def _node_of(value: object, key: str, depth: int) -> Node:
    """The value as it would have been read from a file. Line 0 is none."""
    if depth > MAX_DEPTH:
        raise _no_value(key, f"nested more than {MAX_DEPTH} levels deep")
    if value is None:
        return ScalarNode("", 0, plain=True)
    if isinstance(value, bool):
        return ScalarNode("true" if value else "false", 0, plain=True)
    if isinstance(value, str | os.PathLike):
        return ScalarNode(os.fspath(value) if isinstance(value, os.PathLike) else str(value), 0, plain=False)
    if isinstance(value, int | float):
        return ScalarNode(str(value), 0, plain=True)
    if isinstance(value, Mapping):
        return MappingNode(
            tuple(
                (ScalarNode(str(name), 0, plain=False), _node_of(each, str(name), depth + 1))
                for name, each in value.items()
            ),
            0,
        )
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return SequenceNode(tuple(_node_of(each, key, depth + 1) for each in value), 0)
    raise _no_value(key, f"{type(value).__name__} is neither text, number, flag, mapping nor list")


def _no_value(key: str, what: str) -> ConfigurationError:
    return ConfigurationError([Problem(_FILE, None, key or None, what, "see docs/api.md for what there can be")])
