"""YAML to a tree, from the parser's events: without recursion, without types guessed, bounded after aliases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from image_syncer.config.tree import (
    MAX_DEPTH,
    MAX_NODES,
    Duplicate,
    MalformedText,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    Tree,
    check_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["parse_yaml"]

_MERGE = "<<"
_QUOTED = re.compile(r"'[^']*'")
_TAG_PREFIX = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq"})

# What PyYAML and libyaml say, by a part of it, and what it means to someone who does not know YAML's grammar.
_SENTENCES = (
    (
        "cannot start any token",
        "a value begins with a character that YAML reserves",
        "put the value in quotes",
    ),
    (
        "mapping values are not allowed",
        "a colon where no key can be",
        "indent all keys of one block alike, and put a value with “: ” in quotes",
    ),
    ("expected key", "the indentation does not fit", "indent all keys of one block alike"),
    ("expected <block end>", "the indentation does not fit", "indent all keys of one block alike"),
    ("expected '-' indicator", "the indentation does not fit", "indent all items of one list alike"),
    ("expected ':'", "a line that is no “key: value”", "write a colon and a space after the key"),
    ("expected ','", "a [ or { that is not closed", "close it, or put the value in quotes"),
    ("end of stream", "a quote or bracket that is not closed", "close it"),
    ("escape", "an unknown escape after \\ in double quotes", "use single quotes, or write \\\\"),
    ("control characters", "a character that may not be in a text file", "remove it"),
)
_UNCLOSED = ("end of stream", "expected ','")


class _Frame:
    """A mapping or list whose end has not come yet."""

    __slots__ = ("anchor", "count", "entries", "items", "key", "keys", "line", "merged")

    def __init__(self, line: int, anchor: str | None, count: int) -> None:
        self.line = line
        self.anchor = anchor
        self.count = count
        self.items: list[Node] = []
        self.key: ScalarNode | None = None
        self.keys: dict[str, int] = {}
        self.entries: list[tuple[ScalarNode, Node]] = []
        self.merged: list[tuple[ScalarNode, Node]] = []


class _Builder:
    """Takes events, makes the tree of the first document."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.duplicates: list[Duplicate] = []
        self.rest_line: int | None = None
        self._count = 0
        self._stack: list[tuple[_Frame, bool]] = []
        self._anchors: dict[str, tuple[Node, int]] = {}

    def feed(self, event: yaml.Event) -> bool:
        """Take one event; False when nothing more is wanted."""
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            self.rest_line = line
            return False
        if isinstance(event, yaml.ScalarEvent):
            _check_tag(event.tag, line)
            # An explicit !!str makes text of what would look like a number.
            plain = event.style in (None, "") and event.tag is None
            self._attach_new(ScalarNode(check_text(event.value, line), line, plain), event.anchor, 1)
        elif isinstance(event, yaml.AliasEvent):
            self._follow(event.anchor or "", line)
        elif isinstance(event, yaml.CollectionStartEvent):
            _check_tag(event.tag, line)
            if len(self._stack) >= MAX_DEPTH:
                raise MalformedText(f"nested more than {MAX_DEPTH} levels deep", line=line)
            frame = _Frame(line, event.anchor, self._count)
            self._stack.append((frame, isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, yaml.CollectionEndEvent):
            frame, is_mapping = self._stack.pop()
            node: Node = _mapping(frame) if is_mapping else SequenceNode(tuple(frame.items), frame.line)
            self._attach_new(node, frame.anchor, self._count - frame.count + 1)
        return True

    def _attach_new(self, node: Node, anchor: str | None, size: int) -> None:
        self._add(1, node.line)
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        self._attach(node)

    def _follow(self, anchor: str, line: int) -> None:
        # A mapping that holds itself has no end yet, so its anchor is not known here: no endless trees.
        if anchor not in self._anchors:
            raise MalformedText(
                "a value begins with *, which in YAML names an anchor, and there is none of that name",
                line=line,
                mend="put the value in quotes",
            )
        node, size = self._anchors[anchor]
        self._add(size, line)
        self._attach(node)

    def _add(self, count: int, line: int) -> None:
        self._count += count
        if self._count > MAX_NODES:
            what = f"more than {MAX_NODES:,} values, counting what aliases repeat"
            raise MalformedText(what, line=line, mend="is it the right file?")

    def _attach(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        frame, is_mapping = self._stack[-1]
        if not is_mapping:
            frame.items.append(node)
        elif frame.key is None:
            if not isinstance(node, ScalarNode):
                raise MalformedText("a key that is a list or a mapping", line=node.line, mend="put the key in quotes")
            frame.key = node
        else:
            self._complete(frame, frame.key, node)
            frame.key = None

    def _complete(self, frame: _Frame, key: ScalarNode, node: Node) -> None:
        if key.plain and key.text == _MERGE:
            frame.merged.extend(_merged(node, key.line))
            return
        if key.text in frame.keys:
            self.duplicates.append(Duplicate(key.text, frame.keys[key.text], key.line))
        frame.keys.setdefault(key.text, key.line)
        frame.entries.append((key, node))


def _mapping(frame: _Frame) -> MappingNode:
    # YAML 1.1 merge keys: what is written in the mapping itself wins, then the earlier of the merged ones.
    entries = frame.entries
    if frame.merged:
        known = set(frame.keys)
        for key, node in frame.merged:
            if key.text not in known:
                known.add(key.text)
                entries.append((key, node))
    return MappingNode(tuple(entries), frame.line)


def _merged(node: Node, line: int) -> Iterator[tuple[ScalarNode, Node]]:
    for mapping in node.items if isinstance(node, SequenceNode) else (node,):
        if not isinstance(mapping, MappingNode):
            raise MalformedText(
                "<< merges something that is not a mapping", line=line, mend="name an anchor: <<: *name"
            )
        yield from mapping.entries


def _check_tag(tag: str | None, line: int) -> None:
    if tag in (None, "!") or (tag.startswith(_TAG_PREFIX) and tag[len(_TAG_PREFIX) :] in _KNOWN_TAGS):
        return
    raise MalformedText("a YAML tag (a word that begins with !)", line=line, mend="put the value in quotes")


def parse_yaml(text: str) -> Tree:
    """The tree of the first document in `text`; raises MalformedText."""
    builder = _Builder()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(text, Loader=loader):
            if not builder.feed(event):
                break
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if builder.root is None or mark is None:
            raise _malformed(error, text) from None
        builder.rest_line = mark.line + 1
    except yaml.YAMLError:
        raise MalformedText("a character that may not be in a text file", mend="save the file as UTF-8 text") from None
    return Tree(builder.root, False, tuple(builder.duplicates), builder.rest_line)


def _malformed(error: yaml.MarkedYAMLError, text: str) -> MalformedText:
    problem, mark = error.problem or "", error.problem_mark
    if error.context_mark and any(part in problem for part in _UNCLOSED):
        # Where it was opened helps more than where the file ended.
        mark = error.context_mark
    line = mark.line + 1 if mark else None
    column = f" (column {mark.column + 1})" if mark else ""
    if mark and _character_at(text, mark.line, mark.column) == "\t":
        return MalformedText(f"not YAML: a tab{column}", line=line, mend="indent with spaces")
    for part, what, mend in _SENTENCES:
        if part in problem:
            return MalformedText(f"not YAML: {what}{column}", line=line, mend=mend)
    # The parser quotes parts of the file, and they may be parts of a password.
    return MalformedText(f"not YAML: {_QUOTED.sub('…', problem)}{column}", line=line)


def _character_at(text: str, line: int, column: int) -> str:
    lines = text.splitlines()
    return lines[line][column : column + 1] if line < len(lines) else ""
