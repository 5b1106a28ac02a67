"""The document: the bytes of a file, decoded, told apart as YAML or JSON, and read into a tree.

JSON to a tree: RFC 8259, with the line of every value, without recursion, and bounded.
"""

from __future__ import annotations

import codecs
import json
import re
from bisect import bisect_right

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

__all__ = ["MAX_FILE_BYTES", "parse_document", "parse_json"]


_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true\b|false\b|null\b")
_STRING = json.JSONDecoder()


class _Frame:
    """An object or array whose end has not come yet."""

    __slots__ = ("entries", "items", "key", "keys", "line", "opening")

    def __init__(self, opening: str, line: int) -> None:
        self.opening = opening
        self.line = line
        self.items: list[Node] = []
        self.key: ScalarNode | None = None
        self.keys: dict[str, int] = {}
        self.entries: list[tuple[ScalarNode, Node]] = []

    @property
    def is_empty(self) -> bool:
        return not self.items and not self.entries

    def finish(self) -> Node:
        if self.opening == "{":
            return MappingNode(tuple(self.entries), self.line)
        return SequenceNode(tuple(self.items), self.line)


class _Reader:
    """Reads one value and everything in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.duplicates: list[Duplicate] = []
        self._count = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]

    @property
    def line(self) -> int:
        return bisect_right(self._newlines, self.at - 1) + 1

    def skip_space(self) -> str:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def fail(self, what: str, mend: str | None = None) -> MalformedText:
        if self.text.startswith(("//", "/*", "#"), self.at):
            what, mend = "a comment", "JSON has no comments: remove it, or use YAML"
        return MalformedText(f"not JSON: {what}", line=self.line, mend=mend)

    def read(self) -> Node:
        stack: list[_Frame] = []
        while True:
            node = self._next(stack)
            if node is None:
                continue
            if not stack:
                return node
            frame = stack[-1]
            if frame.key is None:
                frame.items.append(node)
            else:
                frame.entries.append((frame.key, node))
                frame.key = None

    def _next(self, stack: list[_Frame]) -> Node | None:
        """The next finished value, or None where an object or array was opened."""
        character = self.skip_space()
        if stack:
            frame = stack[-1]
            if character and character == ("}" if frame.opening == "{" else "]"):
                self.at += 1
                return stack.pop().finish()
            if not frame.is_empty:
                character = self._comma(character)
            if frame.opening == "{":
                character = self._key(frame, character)
        self._count += 1
        if self._count > MAX_NODES:
            raise MalformedText(f"more than {MAX_NODES:,} values", line=self.line, mend="is it the right file?")
        if character in ("{", "["):
            if len(stack) >= MAX_DEPTH:
                raise MalformedText(f"nested more than {MAX_DEPTH} levels deep", line=self.line)
            stack.append(_Frame(character, self.line))
            self.at += 1
            return None
        return self._string() if character == '"' else self._word()

    def _comma(self, character: str) -> str:
        if character != ",":
            if not character:
                raise self.fail("the end comes too early", "close every { and [")
            raise self.fail("a comma is missing", "put it in")
        self.at += 1
        character = self.skip_space()
        if character in ("}", "]"):
            raise self.fail("a comma after the last value", "remove the comma")
        return character

    def _key(self, frame: _Frame, character: str) -> str:
        if character != '"':
            if not character:
                raise self.fail("the end comes too early", "close every { and [")
            raise self.fail("a key has to be in double quotes", "write it so")
        key = self._string()
        if key.text in frame.keys:
            self.duplicates.append(Duplicate(key.text, frame.keys[key.text], key.line))
        frame.keys.setdefault(key.text, key.line)
        frame.key = key
        if self.skip_space() != ":":
            raise self.fail("a colon is missing after the key", "put it in")
        self.at += 1
        return self.skip_space()

    def _string(self) -> ScalarNode:
        line = self.line
        try:
            text, self.at = _STRING.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            # The decoder's messages name no part of the file.
            self.at = error.pos
            what = f"in a text: {error.msg.lower()}"
            raise self.fail(what, "escape quotes and backslashes with \\") from None
        return ScalarNode(check_text(text, line), line, plain=False)

    def _word(self) -> ScalarNode:
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            at_end = self.at >= len(self.text)
            what = "the end comes too early" if at_end else "a value that is not in double quotes"
            raise self.fail(what, "write texts in double quotes, and close every { and [")
        node = ScalarNode(match.group(), self.line, plain=True)
        self.at = match.end()
        return node


def parse_json(text: str) -> Tree:
    """The tree of the first value in `text`; raises MalformedText."""
    reader = _Reader(text)
    if not reader.skip_space():
        return Tree(None, True)
    root = reader.read()
    rest_line = reader.line if reader.skip_space() else None
    return Tree(root, True, tuple(reader.duplicates), rest_line)


MAX_FILE_BYTES = 16 * 2**20
"""The largest file that is read. 100 000 rules take about 10 MiB."""

_YAML_ENDINGS = (".yaml", ".yml")
_JSON_ENDINGS = (".json",)
_OTHER_UNICODE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse_document(raw: bytes, name: str) -> Tree:
    """The tree of a file's content. The ending of `name` says whether it is YAML or JSON; without one of them, it is
    JSON when it begins with a brace or bracket. Raises MalformedText.
    """
    text = _decode(raw)
    ending = name.lower()
    is_yaml = ending.endswith(_YAML_ENDINGS) or not text.lstrip().startswith(("{", "["))
    if ending.endswith(_JSON_ENDINGS) or not is_yaml:
        return parse_json(text)
    from image_syncer.config.yaml_text import parse_yaml  # here: who has JSON only loads no YAML

    return parse_yaml(text)


def _decode(raw: bytes) -> str:
    mend = "save it as UTF-8 text"
    if raw.startswith(_OTHER_UNICODE):
        raise MalformedText("the file is UTF-16 or UTF-32", mend=mend)
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise MalformedText("the file is binary, with a NUL byte", line=line, mend="is it the right file?")
    try:
        return raw.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise MalformedText("the file is not UTF-8", line=line, mend=mend) from None
