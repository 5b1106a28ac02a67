"""Documents: the bytes of a YAML or JSON file as a tree, with the line of every value.

Values are the text that was written, so a tag `1.10` stays `1.10`; `fields` reads flags and numbers. Both parsers work
without recursion, and stop at a bound of values (after aliases) and of nesting. JSON has a parser of its own: YAML
accepts more (comments, text without quotes), and refuses escaped surrogate pairs.
"""

from __future__ import annotations

import codecs
import json
import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml


MAX_NODES = 1_000_000
"""Values in one file, after aliases are followed. 100 000 rules have about 300 000; an alias bomb has billions."""

MAX_DEPTH = 64
"""Nesting of one file. Our formats need five levels."""

_SURROGATE = lazy_pattern("[\ud800-\udfff]")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class MalformedText(ValueError):  # noqa: N818 - named for what was read
    """The file is neither YAML nor JSON. `line` counts from 1; the texts hold no value of the file."""

    def __init__(self, what: str, *, line: int | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.line = line
        self.mend = mend


class ScalarNode(Value, frozen=True):
    """A value as it was written. `plain`: without quotes, so it may be a flag, a number or nothing."""

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
    """Keys and values in the order written, with repeated keys."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    line: int

    def get(self, key: str) -> Node | None:
        """Return the value of the first such key, or None."""
        return next((value for name, value in self.entries if name.text == key), None)


Node = ScalarNode | SequenceNode | MappingNode


class Duplicate(Value, frozen=True):
    """A key that one mapping has twice, and both lines."""

    key: str
    first_line: int
    line: int


class Tree(Value, frozen=True):
    """The content of a file. `root` is None where it is empty; `rest_line` is where text after the first document
    begins, which is not read.
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


MAX_FILE_BYTES = 16 * 2**20
"""The largest file that is read. 100 000 rules take about 10 MiB."""

_YAML_ENDINGS = (".yaml", ".yml")
_JSON_ENDING = ".json"
_OTHER_UNICODE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SPACE = lazy_pattern(r"[ \t\r\n]*")
_NUMBER = lazy_pattern(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true\b|false\b|null\b")
_STRING = json.JSONDecoder()
_MERGE = "<<"
_QUOTED = lazy_pattern(r"'[^']*'")
_TAG_PREFIX = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq"})

# Parts of the messages of PyYAML and libyaml, and what they mean to a user who does not know YAML's grammar.
_SENTENCES = (
    ("cannot start any token", "a value begins with a character that YAML reserves", "put the value in quotes"),
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


def parse_document(raw: bytes, name: str) -> Tree:
    """Return the tree of a file's content. The ending of `name` says whether it is YAML or JSON; without one of them,
    it is JSON when it begins with a brace or bracket. Raises MalformedText.
    """
    text = _decode(raw)
    ending = name.lower()
    is_yaml = ending.endswith(_YAML_ENDINGS) or not text.lstrip().startswith(("{", "["))
    return parse_json(text) if ending.endswith(_JSON_ENDING) or not is_yaml else parse_yaml(text)


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


class _Frame(Struct):
    """A mapping or list that is not complete. `count` is how many values came before it."""

    line: int
    is_mapping: bool
    count: int
    anchor: str | None = None
    items: list[Node] = field(default_factory=list)
    key: ScalarNode | None = None
    keys: dict[str, int] = field(default_factory=dict)
    entries: list[tuple[ScalarNode, Node]] = field(default_factory=list)
    merged: list[tuple[ScalarNode, Node]] = field(default_factory=list)

    def finish(self) -> Node:
        # YAML 1.1 merge keys: the keys of the mapping itself win, then the earlier of the merged ones.
        for key, node in self.merged:
            if key.text not in self.keys:
                self.keys[key.text] = key.line
                self.entries.append((key, node))
        if self.is_mapping:
            return MappingNode(tuple(self.entries), self.line)
        return SequenceNode(tuple(self.items), self.line)


class _Builder:
    """The tree of a document under construction. `bounded` names the values that are counted."""

    def __init__(self, bounded: str) -> None:
        self.root: Node | None = None
        self.duplicates: list[Duplicate] = []
        self.stack: list[_Frame] = []
        self._bounded = bounded
        self._count = 0
        self._anchors: dict[str, tuple[Node, int]] = {}

    def _add_count(self, count: int, line: int) -> None:
        self._count += count
        if self._count > MAX_NODES:
            raise MalformedText(f"more than {MAX_NODES:,} {self._bounded}", line=line, mend="is it the right file?")

    def open(self, line: int, anchor: str | None = None, *, is_mapping: bool) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise MalformedText(f"nested more than {MAX_DEPTH} levels deep", line=line)
        self.stack.append(_Frame(line, is_mapping, self._count, anchor))
        self._add_count(1, line)

    def close(self) -> None:
        frame = self.stack.pop()
        self._attach(frame.finish(), frame.anchor, self._count - frame.count)

    def add_scalar(self, node: ScalarNode, anchor: str | None = None) -> None:
        self._add_count(1, node.line)
        self._attach(node, anchor, 1)

    def add_alias(self, anchor: str, line: int) -> None:
        # The anchor of a mapping is unknown until its end: no mapping contains itself.
        if anchor not in self._anchors:
            raise MalformedText(
                "a value begins with *, which in YAML names an anchor, and there is none of that name",
                line=line,
                mend="put the value in quotes",
            )
        node, size = self._anchors[anchor]
        self._add_count(size, line)
        self._attach(node)

    def add_key(self, node: ScalarNode) -> None:
        """Add a key of JSON, which is not counted."""
        self._attach(node)

    def _attach(self, node: Node, anchor: str | None = None, size: int = 1) -> None:
        """Add a key or a value, which has `size` values with itself, to the innermost mapping or list."""
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        key = frame.key
        if not frame.is_mapping:
            frame.items.append(node)
        elif key is None:
            if not isinstance(node, ScalarNode):
                raise MalformedText("a key that is a list or a mapping", line=node.line, mend="put the key in quotes")
            frame.key = node
        else:
            frame.key = None
            if key.plain and key.text == _MERGE:
                frame.merged.extend(_merged(node, key.line))
                return
            if key.text in frame.keys:
                self.duplicates.append(Duplicate(key.text, frame.keys[key.text], key.line))
            frame.keys.setdefault(key.text, key.line)
            frame.entries.append((key, node))


def _merged(node: Node, line: int) -> Iterator[tuple[ScalarNode, Node]]:
    for mapping in node.items if isinstance(node, SequenceNode) else (node,):
        if not isinstance(mapping, MappingNode):
            raise MalformedText(
                "<< merges something that is not a mapping", line=line, mend="name an anchor: <<: *name"
            )
        yield from mapping.entries


def parse_json(text: str) -> Tree:
    """Return the tree of the first value in `text` (RFC 8259). Raises MalformedText."""
    reader = _JsonReader(text)
    if not reader.skip_space():
        return Tree(None, True)
    reader.read()
    rest_line = reader.line if reader.skip_space() else None
    return Tree(reader.builder.root, True, tuple(reader.builder.duplicates), rest_line)


class _JsonReader:
    """A reader of one JSON value, at a position in the text."""

    def __init__(self, text: str) -> None:
        self.builder = _Builder("values")
        self._text = text
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]

    @property
    def line(self) -> int:
        return bisect_right(self._newlines, self._at - 1) + 1

    def skip_space(self) -> str:
        """Return the next character that is no space, "" at the end."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def read(self) -> None:
        """Read up to the end of the value."""
        builder = self.builder
        while builder.root is None:
            character = self.skip_space()
            if builder.stack:
                frame = builder.stack[-1]
                if character and character == ("}" if frame.is_mapping else "]"):
                    self._at += 1
                    builder.close()
                    continue
                if frame.items or frame.entries:
                    character = self._comma(character)
                if frame.is_mapping:
                    character = self._key(character)
            if character in ("{", "["):
                builder.open(self.line, is_mapping=character == "{")
                self._at += 1
            else:
                builder.add_scalar(self._string() if character == '"' else self._word())

    def _fail(self, what: str, mend: str | None = None) -> MalformedText:
        if self._text.startswith(("//", "/*", "#"), self._at):
            what, mend = "a comment", "JSON has no comments: remove it, or use YAML"
        return MalformedText(f"not JSON: {what}", line=self.line, mend=mend)

    def _check_character(self, character: str, expected: str, what: str, mend: str) -> None:
        if not character:
            raise self._fail("the end comes too early", "close every { and [")
        if character != expected:
            raise self._fail(what, mend)

    def _comma(self, character: str) -> str:
        self._check_character(character, ",", "a comma is missing", "put it in")
        self._at += 1
        character = self.skip_space()
        if character in ("}", "]"):
            raise self._fail("a comma after the last value", "remove the comma")
        return character

    def _key(self, character: str) -> str:
        self._check_character(character, '"', "a key has to be in double quotes", "write it so")
        self.builder.add_key(self._string())
        if self.skip_space() != ":":
            raise self._fail("a colon is missing after the key", "put it in")
        self._at += 1
        return self.skip_space()

    def _string(self) -> ScalarNode:
        line = self.line
        try:
            text, self._at = _STRING.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            # The decoder's messages name no part of the file.
            self._at = error.pos
            raise self._fail(f"in a text: {error.msg.lower()}", "escape quotes and backslashes with \\") from None
        return ScalarNode(check_text(text, line), line, plain=False)

    def _word(self) -> ScalarNode:
        match = _NUMBER.match(self._text, self._at)
        if match is None:
            at_end = self._at >= len(self._text)
            what = "the end comes too early" if at_end else "a value that is not in double quotes"
            raise self._fail(what, "write texts in double quotes, and close every { and [")
        node = ScalarNode(match.group(), self.line, plain=True)
        self._at = match.end()
        return node


def parse_yaml(text: str) -> Tree:
    """Return the tree of the first document in `text`. Raises MalformedText."""
    import yaml  # not for JSON files

    builder, rest_line = _Builder("values, counting what aliases repeat"), None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.ScalarEvent):
                _check_tag(event.tag, line)
                # An explicit !!str makes text of what would look like a number.
                plain = event.style in (None, "") and event.tag is None
                builder.add_scalar(ScalarNode(check_text(event.value, line), line, plain), event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                builder.add_alias(event.anchor or "", line)
            elif isinstance(event, yaml.CollectionStartEvent):
                _check_tag(event.tag, line)
                builder.open(line, event.anchor, is_mapping=isinstance(event, yaml.MappingStartEvent))
            elif isinstance(event, yaml.CollectionEndEvent):
                builder.close()
            elif isinstance(event, yaml.DocumentStartEvent) and builder.root is not None:
                rest_line = line
                break
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if builder.root is None or mark is None:
            raise _malformed(error, text) from None
        rest_line = mark.line + 1
    except yaml.YAMLError:
        raise MalformedText("a character that may not be in a text file", mend="save the file as UTF-8 text") from None
    return Tree(builder.root, False, tuple(builder.duplicates), rest_line)


def _check_tag(tag: str | None, line: int) -> None:
    if tag in (None, "!") or (tag.startswith(_TAG_PREFIX) and tag[len(_TAG_PREFIX) :] in _KNOWN_TAGS):
        return
    raise MalformedText("a YAML tag (a word that begins with !)", line=line, mend="put the value in quotes")


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
