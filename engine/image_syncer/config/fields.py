"""Fields of a file's mappings, read by name as text, flag, number or list; a wrong value becomes a finding."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from image_syncer.config.document import MappingNode, Node, ScalarNode, SequenceNode
from image_syncer.config.findings import Findings, RuleError, key_path, nearest, shown
from image_syncer.patterns import lazy_pattern
from image_syncer.units import parse_size
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


# YAML 1.1 flags, as the Go tool's parser reads them.
_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})
_COUNT = lazy_pattern(r"[0-9]{1,9}")
_NUMBER = lazy_pattern(r"[0-9]{1,9}(\.[0-9]{1,9})?")

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_ANYWHERE = lazy_pattern(rf"\$(?:\{{(?P<braced>[^}}]*)\}}|(?P<open>\{{)|(?P<bare>{_VARIABLE}))")
_BRACED = lazy_pattern(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<open>\{))")
_WHOLE = lazy_pattern(rf"\$\{{(?P<braced>{_VARIABLE})\}}")
_Parsed = TypeVar("_Parsed")


class Expansion(Enum):
    """Which references to environment variables are expanded."""

    ANYWHERE = "$NAME and ${NAME}, as a whole value or within"
    BRACED = "${NAME}, as a whole value or within"
    WHOLE = "${NAME}, as a whole value only"


class ExpansionError(RuleError):
    """A reference that cannot be expanded. `name` is the variable, None where the reference itself is broken.

    `is_telling` means that a message may show the name even where the value is a secret: the value is only a reference
    to a variable, not a password that contains a dollar sign.
    """

    def __init__(self, name: str | None, *, is_telling: bool = False) -> None:
        if name is None:
            super().__init__("a ${ that is not followed by a name and }", "write ${NAME}")
        else:
            super().__init__(f"the environment variable {name} is not set", f"export {name}=…")
        self.name = name
        self.is_telling = is_telling


def expand(text: str, style: Expansion, environ: Mapping[str, str] | None) -> str:
    """Return `text` with the references of `style` replaced; without `environ`, return it as it is.
    Raises ExpansionError.

    >>> expand("$REG/app", Expansion.ANYWHERE, {"REG": "quay.io"})
    'quay.io/app'
    >>> expand("pa$$word", Expansion.WHOLE, {})
    'pa$$word'
    """
    if environ is None:
        return text

    def value_of(match: re.Match[str]) -> str:
        groups = match.groupdict()
        name = groups.get("braced") or groups.get("bare")
        if not name or not re.fullmatch(_VARIABLE, name):
            raise ExpansionError(None)
        if name not in environ:
            is_whole = match.group() == text
            raise ExpansionError(name, is_telling=is_whole and (groups.get("bare") is None or name.isupper()))
        return environ[name]

    if style is Expansion.WHOLE:
        whole = _WHOLE.fullmatch(text)
        return value_of(whole) if whole else text
    return (_ANYWHERE if style is Expansion.ANYWHERE else _BRACED).sub(value_of, text)


class Dialect(Value, frozen=True):
    """How one kind of file is read.

    `strict`: unknown keys are errors. `any_case`: keys are compared without regard to case, as Go compares the keys of
    JSON objects. `secrets`, `destinations`: which references to variables are expanded there. `find_file` returns the
    full path of a file that this one names, and whether it can be read. Without `environ` no reference is expanded.
    """

    strict: bool
    any_case: bool
    secrets: Expansion
    destinations: Expansion
    environ: Mapping[str, str] | None
    find_file: Callable[[str], tuple[str, bool]]


def read_mapping(node: Node, key: str, findings: Findings) -> MappingNode | None:
    """Return the node as a mapping; nothing written counts as an empty one. None after an error."""
    if isinstance(node, MappingNode):
        return node
    if isinstance(node, ScalarNode) and node.is_null:
        return MappingNode((), node.line)
    findings.error(node.line, key, f"{_kind(node)}, where keys with values are wanted", "write “key: value” lines")
    return None


def read_text(node: Node, key: str, findings: Findings) -> str | None:
    """Return the node as text, as it was written; nothing written is the empty text. None after an error."""
    if isinstance(node, ScalarNode):
        return "" if node.is_null else node.text
    findings.error(node.line, key, f"{_kind(node)}, where one text is wanted", "write one value, in quotes")
    return None


def read_texts(node: Node, key: str, findings: Findings) -> list[ScalarNode]:
    """Return the node as one or several texts. An empty list, or an item that is no text, is an error and left out."""
    if isinstance(node, ScalarNode):
        return [node]
    if isinstance(node, MappingNode):
        mend = "write one text, or a list of them: [a, b]"
        findings.error(node.line, key, "a mapping, where a text or a list of texts is wanted", mend)
        return []
    if not node.items:
        findings.error(node.line, key, "the list is empty", "write at least one item, or leave the key out")
    for item in node.items:
        if not isinstance(item, ScalarNode):
            findings.error(item.line, key, f"{_kind(item)}, where one text is wanted", "write a list: [a, b]")
    return [item for item in node.items if isinstance(item, ScalarNode)]


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, SequenceNode) else "a single value"


class Fields(Value, frozen=True):
    """The known fields of the mapping at `path`, read by name. A missing field reads as None, "", () or False."""

    nodes: Mapping[str, Node]
    path: str
    line: int
    findings: Findings
    dialect: Dialect

    def __contains__(self, name: str) -> bool:
        return name in self.nodes

    def key(self, name: str) -> str:
        """Return the path of a key, for messages."""
        return key_path(self.path, name)

    def error(self, name: str, what: str, mend: str | None = None) -> None:
        """Add an error about the value of a key."""
        self.findings.error(self.nodes[name].line, self.key(name), what, mend)

    def text(self, name: str) -> str:
        """Return a text as it was written."""
        node = self.nodes.get(name)
        return "" if node is None else read_text(node, self.key(name), self.findings) or ""

    def items(self, name: str) -> list[ScalarNode]:
        """Return one text or a list of them, with their lines."""
        node = self.nodes.get(name)
        return [] if node is None else read_texts(node, self.key(name), self.findings)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return one text or a list of them."""
        return tuple(item.text for item in self.items(name))

    def parsed(self, name: str, parse: Callable[[str], _Parsed], mend: str | None = None) -> _Parsed | None:
        """Return what `parse` makes of the text of a key; None where the key is missing, or after an error."""
        node, key = self.nodes.get(name), self.key(name)
        text = None if node is None else read_text(node, key, self.findings)
        return None if node is None or text is None else self.findings.attempt(parse, text, node.line, key, mend)

    def parsed_items(self, name: str, parse: Callable[[str], _Parsed]) -> tuple[_Parsed, ...]:
        """Return what `parse` makes of each text of a list; those with an error are left out."""
        key = self.key(name)
        found = [self.findings.attempt(parse, item.text, item.line, key) for item in self.items(name)]
        return tuple(each for each in found if each is not None)

    def flag(self, name: str) -> bool:
        """Return true or false; nothing written is false."""
        node = self.nodes.get(name)
        if node is None:
            return False
        if isinstance(node, ScalarNode) and node.plain:
            word = node.text.lower()
            if word in _TRUE:
                return True
            if word in _FALSE or node.is_null:
                return False
        what = shown(node.text) if isinstance(node, ScalarNode) else _kind(node)
        self.error(name, f"{what} is not a boolean", "write true or false, without quotes")
        return False

    def count(self, name: str, *, least: int = 1) -> int | None:
        """Return a whole number from `least`."""

        def parse(text: str) -> int:
            if _COUNT.fullmatch(text) and int(text) >= least:
                return int(text)
            raise ValueError

        return self._number(name, parse, f"a whole number from {least}")

    def number(self, name: str, *, least: float) -> float | None:
        """Return a number from `least`, with or without a fraction."""

        def parse(text: str) -> float:
            if _NUMBER.fullmatch(text) and float(text) >= least:
                return float(text)
            raise ValueError

        return self._number(name, parse, f"a number from {least:g}")

    def size(self, name: str) -> int | None:
        """Return a size in bytes, written with or without a unit."""
        return self._number(name, parse_size, "a size", "write a number with a unit: 512KiB, 16MiB or 2GiB")

    def _number(self, name: str, parse: Callable[[str], _Parsed], kind: str, mend: str | None = None) -> _Parsed | None:
        node = self.nodes.get(name)
        if node is None or (isinstance(node, ScalarNode) and node.is_null):
            return None
        text = node.text if isinstance(node, ScalarNode) else ""
        try:
            return parse(text)
        except ValueError:
            self.error(name, f"{shown(text) or _kind(node)} is not {kind}", mend)
            return None

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """Return one of `choices`."""
        text = self.text(name)
        if not text or text in choices:
            return text or None
        words = ", ".join(choices)
        self.error(name, f"{shown(text)} is none of {words}", f"write one of {words}")
        return None

    def fields(self, name: str, known: Sequence[str]) -> Fields | None:
        """Return the known fields of a mapping in this one; None where there is none, or after an error."""
        node = self.nodes.get(name)
        return None if node is None else read_fields(node, known, self.key(name), self.findings, self.dialect)

    def mapping(self, name: str) -> Sequence[tuple[ScalarNode, Node]]:
        """Return the keys and values of a mapping with any keys."""
        node = self.nodes.get(name)
        found = None if node is None else read_mapping(node, self.key(name), self.findings)
        return () if found is None else found.entries

    def secret(self, name: str, style: Expansion | None = None) -> str:
        """Return a text that may refer to environment variables, and that no message shows. `style` is the file's own
        by default.
        """
        if name not in self.nodes:
            return ""
        text = self.text(name)
        value = self.expanded(text, style or self.dialect.secrets, self.nodes[name].line, self.key(name))
        if text and value == text and name != "username" and (name != "proxy" or "@" in text):
            self.findings.holds_secret = True
        return value

    def expanded(self, text: str, style: Expansion, line: int, key: str) -> str:
        """Return `text` with its references expanded, "" after an error."""
        try:
            return expand(text, style, self.dialect.environ)
        except ExpansionError as error:
            what, mend = error.what, error.mend
            if error.name is not None and not error.is_telling:
                # The text after the dollar sign may be part of the password.
                what = "a dollar sign refers to an environment variable that is not set"
                mend = "set it, or put the whole value into a variable and write ${NAME}"
            self.findings.error(line, key, what, mend)
        return ""

    def file(self, name: str, mend: str) -> str | None:
        """Return the full path of a file that can be read."""
        text = self.text(name)
        if not text:
            return None
        full_path, readable = self.dialect.find_file(text)
        if not readable:
            self.error(name, f"the file {shown(full_path)} cannot be read", mend)
        return full_path


def read_fields(node: Node, known: Sequence[str], path: str, findings: Findings, dialect: Dialect) -> Fields | None:
    """Return the known fields of a mapping; others are an error or a warning. None where the node is no mapping."""
    mapping = read_mapping(node, path, findings)
    if mapping is None:
        return None
    found: dict[str, Node] = {}
    by_lower = {name.lower(): name for name in known}
    for name, value in mapping.entries:
        field = by_lower.get(name.text.lower()) if dialect.any_case else name.text
        if field in known:
            found.setdefault(str(field), value)
            continue
        guess = nearest(name.text, known)
        # A key without a value may be a value: a password that begins with a brace reads as a mapping.
        is_shown = guess is not None or not (isinstance(value, ScalarNode) and value.is_null)
        report = findings.error if dialect.strict else findings.warn
        report(
            name.line,
            key_path(path, name.text if is_shown else "…"),
            "unknown key" if dialect.strict else "unknown key, it has no effect",
            f"did you mean “{guess}”?" if guess else f"known keys: {', '.join(known)}",
        )
    return Fields(found, path, mapping.line, findings, dialect)
