"""The proof of a draft: what was written is read again, and what our format refuses is left out, with the reason."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.catalogs import CatalogRule
from image_syncer.config.collisions import find_collisions
from image_syncer.config.converters.own_writer import write_own
from image_syncer.config.entry_fields import Dialect
from image_syncer.config.environment import Expansion
from image_syncer.config.findings import Findings
from image_syncer.config.own_format import read_own
from image_syncer.config.registries import read_registries
from image_syncer.config.registry_book import canonical_prefix
from image_syncer.config.tree import MappingNode
from image_syncer.config.yaml_text import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.config.converters.draft import Draft
    from image_syncer.config.images import PlacedRule

__all__ = ["AnyVariables", "prove"]

_RULE = re.compile(r"rules\[(?P<index>[0-9]+)\]")


class AnyVariables(dict[str, str]):
    """Variables of which each is set, to what can stand wherever a name can: values are not known when a file is
    converted.
    """

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> str:
        return "registry.example"


def prove(draft: Draft, heading: Sequence[str]) -> str:
    """The text of the file, in which only what can be read is in force."""
    for _ in range(3):
        text = write_own(draft, heading)
        findings = Findings(draft.findings.file)
        root = parse_yaml(text).root
        if not isinstance(root, MappingNode):
            raise TypeError("the writer wrote no mapping")
        _, rules = read_own(root, findings, _dialect())
        if not findings.errors:
            _tell_collisions(draft, [rule for rule in rules if not isinstance(rule, CatalogRule)])
            return write_own(draft, heading)
        _leave_out(draft, root, findings)
    raise RuntimeError("what was written cannot be read")


def _dialect() -> Dialect:
    variables: Mapping[str, str] = AnyVariables()
    return Dialect(True, False, Expansion.BRACED, Expansion.BRACED, variables, lambda name: (name, True))


def _leave_out(draft: Draft, root: MappingNode, findings: Findings) -> None:
    """Refuse the rules and the registries that the findings are about."""
    in_force = [rule for rule in draft.rules if not rule.refusal]
    for problem in findings.errors:
        match = _RULE.match(problem.key or "")
        if match and not in_force[int(match["index"])].refusal:
            draft.refuse(in_force[int(match["index"])], problem.what, problem.mend)
    # Paths of registries have their names as they may be shown, so each is looked at by itself.
    registries = root.get("registries")
    entries = [entry for entry in draft.registries.values() if not entry.refusal]
    seen: set[str] = set()
    for entry, one in zip(entries, registries.entries if isinstance(registries, MappingNode) else (), strict=True):
        alone = Findings(findings.file)
        read_registries(MappingNode((one,), one[0].line), "registries", alone, _dialect())
        prefix = canonical_prefix(one[0].text)
        errors = [(problem.what, problem.mend) for problem in alone.errors]
        if prefix in seen:
            errors.append(("another entry is for the same registry", None))
        seen.add(prefix)
        if errors:
            what, mend = errors[0]
            draft.lose(entry.notes, *entry.place, f"left out: {what}", mend)
            entry.refusal = what


def _tell_collisions(draft: Draft, rules: Sequence[PlacedRule]) -> None:
    """Two sources for one tag: other tools let one of them win, ours refuses to begin."""
    in_force = [rule for rule in draft.rules if not rule.refusal]
    for problem in find_collisions(rules)[0]:
        match = _RULE.match(problem.key or "")
        if match:
            rule = in_force[int(match["index"])]
            what = re.sub(r" \([^()]*:[0-9]+\)", "", problem.what)
            draft.lose(rule.notes, *rule.place, what, "a run refuses to begin with both: give one another tag")
