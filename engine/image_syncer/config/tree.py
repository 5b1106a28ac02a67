"""The tree of a YAML or JSON file: every value as the text that was written, with its line.

Nothing is guessed from a scalar's looks, so that a tag `1.10` stays `1.10`; whoever wants a flag or a number asks for
one (`fields`).
"""

from __future__ import annotations

import re

from image_syncer.values import Value

__all__ = [
    "MAX_DEPTH",
    "MAX_NODES",
    "Duplicate",
    "MalformedText",
    "MappingNode",
    "Node",
    "ScalarNode",
    "SequenceNode",
    "Tree",
    "check_text",
]

MAX_NODES = 1_000_000
"""Values in one file, after aliases are followed. 100 000 rules have about 300 000; an alias bomb has billions."""

MAX_DEPTH = 64
"""Nesting of one file. Our formats need five levels."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class MalformedText(ValueError):  # noqa: N818 - named for what was read
    """The file is not the YAML or JSON it should be. `line` counts from 1; no value of the file is in the texts."""

    def __init__(self, what: str, *, line: int | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.line = line
        self.mend = mend


class ScalarNode(Value, frozen=True):
    """A value as it was written. `plain`: without quotes, so that it may mean a flag, a number or nothing."""

    text: str
    line: int
    plain: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing was written, or `null`."""
        return self.plain and self.text in _NULLS


class SequenceNode(Value, frozen=True):
    """A list."""

    items: tuple[Node, ...]
    line: int


class MappingNode(Value, frozen=True):
    """Keys and values in the order written. Where a key is written twice, both are here."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    line: int

    def get(self, key: str) -> Node | None:
        """The value of the first such key, or None."""
        return next((value for name, value in self.entries if name.text == key), None)


Node = ScalarNode | SequenceNode | MappingNode


class Duplicate(Value, frozen=True):
    """A key that is written twice in one mapping, and both lines."""

    key: str
    first_line: int
    line: int


class Tree(Value, frozen=True):
    """What a file holds. `root` is None where it holds nothing; `rest_line` is where text begins that is not read,
    since it stands after the first document.
    """

    root: Node | None
    is_json: bool
    duplicates: tuple[Duplicate, ...] = ()
    rest_line: int | None = None


def check_text(text: str, line: int) -> str:
    r"""`text` itself; MalformedText if escapes such as `\ud800` made half a character of it."""
    if _SURROGATE.search(text):
        raise MalformedText(r"a \u escape that is half a character", line=line, mend="write the character itself")
    return text
