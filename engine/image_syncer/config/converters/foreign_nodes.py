"""Nodes of another tool's file: read as text where there is text, and told where there is something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.findings import key_path
from image_syncer.config.tree import MappingNode, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from image_syncer.config.converters.draft import Draft
    from image_syncer.config.tree import Node

__all__ = ["ForeignFields"]


class ForeignFields:
    """The fields of one mapping of a foreign file, at `key`, read by name. A wrong kind of value is an error of the
    file, and what is not asked for by name is told by `lose_others`, with its line.
    """

    def __init__(self, draft: Draft, node: Node | None, key: str, line: int | None = None) -> None:
        self.key = key
        self.line = node.line if node is not None else line
        self._draft = draft
        self._asked: set[str] = set()
        self._nodes: dict[str, Node] = {}
        self._names: dict[str, int] = {}
        if isinstance(node, MappingNode):
            for name, value in node.entries:
                self._nodes.setdefault(name.text, value)
                self._names.setdefault(name.text, name.line)
        elif node is not None and not _is_null(node):
            draft.findings.error(node.line, key or None, "no mapping, where keys with values are wanted")

    def __contains__(self, name: str) -> bool:
        return name in self._nodes and not _is_null(self._nodes[name])

    def path(self, name: str) -> str:
        """The path of a key, for messages."""
        return key_path(self.key, name)

    def line_of(self, name: str) -> int | None:
        """Where a key stands."""
        return self._names.get(name, self.line)

    def place(self, name: str) -> tuple[int | None, str]:
        """Line and path of a key."""
        return self.line_of(name), self.path(name)

    def text(self, name: str) -> str:
        """A text; "" where there is none."""
        self._asked.add(name)
        node = self._nodes.get(name)
        if node is None or _is_null(node):
            return ""
        if isinstance(node, ScalarNode):
            return node.text
        self._draft.findings.error(node.line, self.path(name), "no text, where one is wanted")
        return ""

    def texts(self, name: str) -> list[str]:
        """A list of texts, or one of them."""
        self._asked.add(name)
        node = self._nodes.get(name)
        if node is None or _is_null(node):
            return []
        items = node.items if isinstance(node, SequenceNode) else (node,)
        for item in items:
            if not isinstance(item, ScalarNode):
                self._draft.findings.error(item.line, self.path(name), "no text, where one is wanted")
        return [item.text for item in items if isinstance(item, ScalarNode)]

    def flag(self, name: str) -> bool | None:
        """True or false; None where nothing is said."""
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "": None}
        text = self.text(name).lower()
        if text not in words:
            self._draft.findings.error(self.line_of(name), self.path(name), "not a boolean")
        return words.get(text)

    def fields(self, name: str) -> ForeignFields:
        """The fields of a mapping in this one, which may be missing."""
        self._asked.add(name)
        return ForeignFields(self._draft, self._nodes.get(name), self.path(name), self.line_of(name))

    def items(self, name: str) -> Iterator[ForeignFields]:
        """The mappings of a list."""
        self._asked.add(name)
        node = self._nodes.get(name)
        if node is None or _is_null(node):
            return
        if not isinstance(node, SequenceNode):
            self._draft.findings.error(node.line, self.path(name), "no list")
            return
        for index, item in enumerate(node.items):
            yield ForeignFields(self._draft, item, f"{self.path(name)}[{index}]")

    def names(self) -> Iterator[str]:
        """All keys, in their order."""
        return iter(self._nodes)

    def lose_others(
        self, notes: list[str], known: Mapping[str, tuple[str, str | None]], silent: Collection[str] = ()
    ) -> None:
        """Tell what was not asked for by name: `known` says for a key what has no counterpart, and what to do. A key
        that says no (`false`, `0`, nothing) says what is so here too, and neither do those of `silent` matter.
        """
        for name, node in self._nodes.items():
            if name in self._asked or name in silent or _is_null(node):
                continue
            if isinstance(node, ScalarNode) and node.text.lower() in {"false", "no", "off", "0"}:
                continue
            what, mend = known.get(name, ("the converter does not know this key", None))
            self._draft.lose(notes, self._names[name], self.path(name), what, mend)


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.is_null
