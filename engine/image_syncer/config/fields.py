"""Fields: what a node of a file is wanted to be (text, flag, number, list), or a finding where it is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.findings import Findings, key_path, nearest, shown
from image_syncer.config.tree import MappingNode, Node, ScalarNode, SequenceNode
from image_syncer.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "read_count",
    "read_fields",
    "read_flag",
    "read_mapping",
    "read_number",
    "read_size",
    "read_text",
    "read_texts",
]

# YAML 1.1 flags, as the Go tool's parser reads them.
_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})
_LONGEST_COUNT = 9
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def _name(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else "a single value"


def read_mapping(node: Node, key: str, findings: Findings) -> MappingNode | None:
    """The node as a mapping; nothing written counts as an empty one."""
    if isinstance(node, MappingNode):
        return node
    if isinstance(node, ScalarNode) and node.is_null:
        return MappingNode((), node.line)
    findings.error(node.line, key, f"{_name(node)}, where keys with values are wanted", "write “key: value” lines")
    return None


def read_fields(
    node: MappingNode,
    known: Sequence[str],
    key: str,
    findings: Findings,
    *,
    strict: bool,
    any_case: bool = False,
) -> dict[str, Node]:
    """The known fields of a mapping by name. Others are an error where `strict`, else a warning.

    `any_case`: names are compared without regard to case, as Go compares the keys of JSON objects.
    """
    found: dict[str, Node] = {}
    by_lower = {name.lower(): name for name in known}
    for name, value in node.entries:
        field = by_lower.get(name.text.lower()) if any_case else name.text
        if field in known:
            found.setdefault(str(field), value)
            continue
        guess = nearest(name.text, known)
        # A key without a value may be a value: a password that begins with a brace makes a mapping of itself.
        is_told = guess is not None or not (isinstance(value, ScalarNode) and value.is_null)
        report = findings.error if strict else findings.warn
        report(
            name.line,
            key_path(key, name.text if is_told else "…"),
            "unknown key" if strict else "unknown key, it has no effect",
            f"did you mean “{guess}”?" if guess else f"known keys: {', '.join(known)}",
        )
    return found


def read_text(node: Node, key: str, findings: Findings) -> str | None:
    """The node as text, as it was written; nothing written is the empty text. None after an error."""
    if isinstance(node, ScalarNode):
        return "" if node.is_null else node.text
    findings.error(node.line, key, f"{_name(node)}, where one text is wanted", "write one value, in quotes")
    return None


def read_texts(node: Node, key: str, findings: Findings) -> list[ScalarNode]:
    """The node as one or several texts; what is no text is an error and left out, and so is an empty list."""
    if isinstance(node, SequenceNode):
        if not node.items:
            findings.error(node.line, key, "the list is empty", "write at least one item, or leave the key out")
        texts = []
        for item in node.items:
            if isinstance(item, ScalarNode):
                texts.append(item)
            else:
                findings.error(item.line, key, f"{_name(item)}, where one text is wanted", "write a list: [a, b]")
        return texts
    if isinstance(node, ScalarNode):
        return [node]
    mend = "write one text, or a list of them: [a, b]"
    findings.error(node.line, key, "a mapping, where a text or a list of texts is wanted", mend)
    return []


def read_flag(node: Node, key: str, findings: Findings) -> bool:
    """The node as true or false; nothing written is false."""
    if isinstance(node, ScalarNode) and node.plain:
        word = node.text.lower()
        if word in _TRUE:
            return True
        if word in _FALSE or node.is_null:
            return False
    what = shown(node.text) if isinstance(node, ScalarNode) else _name(node)
    findings.error(node.line, key, f"{what} is not a boolean", "write true or false, without quotes")
    return False


def read_size(node: Node, key: str, findings: Findings) -> int | None:
    """The node as a size in bytes, with or without a unit; nothing written is None."""
    if isinstance(node, ScalarNode) and node.is_null:
        return None
    text = node.text if isinstance(node, ScalarNode) else ""
    try:
        return parse_size(text)
    except ValueError:
        what = f"{shown(text) or _name(node)} is not a size"
        findings.error(node.line, key, what, "write a number with a unit: 512KiB, 16MiB or 2GiB")
        return None


def read_count(node: Node, key: str, findings: Findings, *, least: int = 1) -> int | None:
    """The node as a whole number from `least`; nothing written is None."""
    if isinstance(node, ScalarNode) and node.is_null:
        return None
    text = node.text if isinstance(node, ScalarNode) else ""
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT and int(text) >= least:
        return int(text)
    findings.error(node.line, key, f"{shown(text) or _name(node)} is not a whole number from {least}")
    return None


def read_number(node: Node, key: str, findings: Findings, *, least: float) -> float | None:
    """The node as a number from `least`, with or without a fraction; nothing written is None."""
    if isinstance(node, ScalarNode) and node.is_null:
        return None
    text = node.text if isinstance(node, ScalarNode) else ""
    if _NUMBER.fullmatch(text) and float(text) >= least:
        return float(text)
    findings.error(node.line, key, f"{shown(text) or _name(node)} is not a number from {least:g}")
    return None
