"""Fields of a rule that stand beside its tags: its sources, and which of its tags are copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.fields import read_text, read_texts
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.config.only import Only
from image_syncer.config.tree import SequenceNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config.tree import Node

__all__ = ["read_only", "read_sources"]


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
