"""Files of other tools: their fields, and their regular expressions and version ranges in terms of our format.

Alternatives become rules of their own, since conditions of one rule hold together. regsync compiles `^` + expression +
`$` (cmd/regsync/root.go, filterRegexAllow), dregsy adds each of the two where it is missing
(internal/pkg/util/regex.go). Neither encloses the expression in a group, so `a|b` matches what begins with a, or ends
with b; this is kept.

skopeo (Masterminds/semver) leaves prereleases out, as we do, unless the range itself has one. regsync (internal/semver)
and dregsy (blang/semver) compare by precedence alone: 2.0.0-rc.1 is in `>=1.0.0` and below 2.0.0. Our format counts a
prerelease as its release; expressions over tags make up for the difference at the bounds.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.config.document import MappingNode, ScalarNode, SequenceNode
from image_syncer.config.findings import key_path
from image_syncer.config.regex import MAX_REGEX_CHARACTERS
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from image_syncer.config.converters.draft import Draft
    from image_syncer.config.document import Node


class ForeignFields:
    """The fields of one mapping of a foreign file, at `key`, read by name. A wrong kind of value is an error, and
    `lose_others` reports the keys that were not read.
    """

    def __init__(self, draft: Draft, node: Node | None, key: str, line: int | None = None) -> None:
        self.key = key
        self.line = node.line if node is not None else line
        self._draft = draft
        self._read: set[str] = set()
        self._nodes: dict[str, Node] = {}
        self._lines: dict[str, int] = {}
        if isinstance(node, MappingNode):
            for name, value in node.entries:
                self._nodes.setdefault(name.text, value)
                self._lines.setdefault(name.text, name.line)
        elif node is not None and not _is_null(node):
            draft.findings.error(node.line, key or None, "no mapping, where keys with values are wanted")

    def __contains__(self, name: str) -> bool:
        return name in self._nodes and not _is_null(self._nodes[name])

    def place(self, name: str) -> tuple[int | None, str]:
        """Return line and path of a key."""
        return self._lines.get(name, self.line), key_path(self.key, name)

    def _node(self, name: str) -> Node | None:
        self._read.add(name)
        return self._nodes[name] if name in self else None

    def _error(self, node: Node, name: str, what: str) -> None:
        self._draft.findings.error(node.line, key_path(self.key, name), what)

    def text(self, name: str) -> str:
        """Return a text, "" where there is none."""
        node = self._node(name)
        if isinstance(node, ScalarNode):
            return node.text
        if node is not None:
            self._error(node, name, _NO_TEXT)
        return ""

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, or one of them."""
        node = self._node(name)
        if node is None:
            return []
        items = node.items if isinstance(node, SequenceNode) else (node,)
        for item in items:
            if not isinstance(item, ScalarNode):
                self._error(item, name, _NO_TEXT)
        return [item.text for item in items if isinstance(item, ScalarNode)]

    def flag(self, name: str) -> bool | None:
        """Return true or false; None where nothing is said."""
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "": None}
        text = self.text(name).lower()
        if text not in words:
            self._draft.findings.error(*self.place(name), "not a boolean")
        return words.get(text)

    def fields(self, name: str) -> ForeignFields:
        """Return the fields of a mapping in this one, which may be missing."""
        self._read.add(name)
        line, path = self.place(name)
        return ForeignFields(self._draft, self._nodes.get(name), path, line)

    def items(self, name: str) -> Iterator[ForeignFields]:
        """Yield the mappings of a list."""
        node = self._node(name)
        if node is not None and not isinstance(node, SequenceNode):
            self._error(node, name, "no list")
        for index, item in enumerate(node.items if isinstance(node, SequenceNode) else ()):
            yield ForeignFields(self._draft, item, f"{key_path(self.key, name)}[{index}]")

    def names(self) -> Iterator[str]:
        """Yield all keys, in their order."""
        return iter(self._nodes)

    def lose_others(
        self, notes: list[str], known: Mapping[str, tuple[str, str | None]], silent: Collection[str] = ()
    ) -> None:
        """Report the keys that were not read: `known` says what has no counterpart, and what to do. Keys that say no
        (`false`, `0`, nothing) and those of `silent` change nothing.
        """
        for name, node in self._nodes.items():
            if name in self._read or name in silent or _is_null(node):
                continue
            if isinstance(node, ScalarNode) and node.text.lower() in {"false", "no", "off", "0"}:
                continue
            what, mend = known.get(name, ("the converter does not know this key", None))
            self._draft.lose(notes, *self.place(name), what, mend)


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.is_null


def lose_single_platform(draft: Draft, notes: list[str], fields: ForeignFields, platform: str) -> None:
    """Report how the copy of a single platform differs."""
    what = f"only {platform} is copied as there, but within an index of its own, not as a bare manifest"
    draft.lose(notes, *fields.place("platform"), what)


_NO_TEXT = "no text, where one is wanted"
_CLASS = lazy_pattern(r"\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_LITERAL = lazy_pattern(r"(?:[A-Za-z0-9_/ ,@:-]|\\[^A-Za-z0-9])*")
_GLOB_PARTS = lazy_pattern(r"\.\*|\.\+|\\\.|[a-z0-9_/-]")
_MOST_GLOBS = 8
_MOST_CHARACTERS = MAX_REGEX_CHARACTERS - 100


def anchored(expressions: Iterable[str]) -> str:
    """Join expressions that match whole texts, as regsync does."""
    return "|".join(f"^{expression}$" for expression in expressions)


def in_portions(expressions: Iterable[str]) -> list[list[str]]:
    """Split alternative expressions into lists that are short enough for one rule."""
    portions: list[list[str]] = []
    length = 0
    for expression in expressions:
        length += len(expression) + 3
        if not portions or length > _MOST_CHARACTERS:
            portions.append([])
            length = len(expression) + 3
        portions[-1].append(expression)
    return portions


def anchored_where_it_is_not(expression: str) -> str:
    """Complete an expression as dregsy does."""
    head = "" if expression.startswith("^") else "^"
    return f"{head}{expression}{'' if expression.endswith('$') else '$'}"


def alternatives(expression: str) -> list[str]:
    """Split an expression at each `|` outside of groups.

    >>> alternatives("a|(b|c)|[|]")
    ['a', '(b|c)', '[|]']
    """
    parts, depth, at, begin = [], 0, 0, 0
    while at < len(expression):
        found = _CLASS.match(expression, at) if expression[at] == "[" else None
        if found:
            at = found.end()
            continue
        if expression[at] == "\\":
            at += 2
            continue
        depth += {"(": 1, ")": -1}.get(expression[at], 0)
        if expression[at] == "|" and depth == 0:
            parts.append(expression[begin:at])
            begin = at + 1
        at += 1
    return [*parts, expression[begin:]]


def as_whole_match(expressions: Iterable[str]) -> str:
    """Return an expression that matches the whole of the names in which `anchored` is found."""
    written = []
    for each in alternatives(anchored(expressions)):
        body = each[1:] if each.startswith("^") else f".*{each}"
        written.append(body[:-1] if _ends_anchored(body) else f"{body}.*")
    return written[0] if len(written) == 1 else "|".join(f"(?:{one})" for one in written)


def _ends_anchored(expression: str) -> bool:
    body = expression[:-1]
    return expression.endswith("$") and (len(body) - len(body.rstrip("\\"))) % 2 == 0


def as_globs(expression: str) -> list[str] | None:
    """Return the patterns of our format for an expression over whole names; None where there are none."""
    parts = _GLOB_PARTS.findall(expression)
    if "".join(parts) != expression or not parts:
        return None
    choices = [{".*": ("", "**"), ".+": ("**",), r"\.": (".",)}.get(part, (part,)) for part in parts]
    globs = ["".join(one) for one in itertools.islice(itertools.product(*choices), _MOST_GLOBS + 1)]
    return None if len(globs) > _MOST_GLOBS else [glob for glob in globs if glob and not glob.endswith("/")]


def literal_of(expression: str) -> str | None:
    """Return the text that an expression without operators matches; None where it has one."""
    return re.sub(r"\\(.)", r"\1", expression) if _LITERAL.fullmatch(expression) else None


class Choice(Value, frozen=True):
    """Conditions that hold together. `regex` and each of `without` are found anywhere in a tag."""

    regex: str | None = None
    within: ForeignRange | None = None
    without: tuple[str, ...] = ()
    newest: int | None = None

    def tags(self) -> dict[str, object]:
        """Return the values of `tags` in our format."""
        values: dict[str, object] = {}
        if self.regex is not None:
            values["regex"] = self.regex
        without = [*self.without, *(self.within.without if self.within else ())]
        if without:
            values["exclude_regex"] = "|".join(without)
        if self.within is not None:
            values["versions"] = self.within.within
        if self.newest is not None:
            values["newest"] = self.newest
        if self.within is not None and self.within.prereleases:
            values["prereleases"] = True
        return values


_VERSION = lazy_pattern(r"v?(?P<numbers>[0-9]+(?:\.[0-9]+){0,2})(?P<rest>[-+].*)?", re.ASCII)
_TERM = lazy_pattern(r"(?P<operator>>=|=>|<=|=<|!=|==|~>|[<>=!^~])?\s*(?P<version>v?[0-9][^\s,<>=!^~|]*|\*)")
_SPELLINGS = {"=>": ">=", "=<": "<=", "==": "=", "~>": "~", "!": "!=", None: ""}
_LOWEST = ("-0",)


class RangeError(ValueError):
    """A range that our format cannot express; says why."""


class ForeignRange(Value, frozen=True):
    """A range in our format. `without`: expressions for tags that it excludes."""

    within: str
    prereleases: bool = False
    without: tuple[str, ...] = ()


class _Terms(Struct):
    within: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)


def by_precedence(text: str) -> list[ForeignRange]:
    """Return the ranges of an expression that compares prereleases like other versions, one for each alternative.
    Raises RangeError.
    """
    return [_precedence_group(group) for group in text.split("||")]


def _precedence_group(text: str) -> ForeignRange:
    terms = _Terms()
    for operator, written in _split(text):
        if operator == "~":  # up to the next minor version, whatever is written
            numbers = _numbers(written)
            _bound(terms, ">=", written)
            _bound(terms, "<", f"{numbers[0]}.{numbers[1] + 1}.0")
        elif operator == "^":
            numbers = _numbers(written)
            place = next((at for at in (0, 1) if numbers[at]), 2)
            upper = [*numbers[:place], numbers[place] + 1, 0, 0][:3]
            _bound(terms, ">=", written)
            _bound(terms, "<", ".".join(map(str, upper)))
        else:
            _bound(terms, operator or "=", written)
    return ForeignRange(" ".join(terms.within) or "*", True, tuple(dict.fromkeys(terms.without)))


def _bound(terms: _Terms, operator: str, written: str) -> None:
    if "x" in written.lower() or "*" in written:
        _wildcard(terms, operator, written)
        return
    match = _VERSION.fullmatch(written)
    if match is None:
        raise RangeError(f"“{written}” is no version")
    version, tag = ".".join(map(str, _numbers(written))), _tag_of(_numbers(written))
    rest = match["rest"] or ""
    if rest and not (rest in _LOWEST and operator == ">="):
        raise RangeError(f"a bound that is a prerelease ({written})")
    if operator in {"<", "!="}:
        terms.without.append(f"^{tag}$")
    elif operator in {">=", "="} and not rest:
        terms.without.append(f"^{tag}-")
    if operator != "!=":
        terms.within.append(f"{'<=' if operator == '<' else operator}{version}")


def _wildcard(terms: _Terms, operator: str, written: str) -> None:
    """Add the bounds of `1.x` or `1.2.x`, of which the upper one has prereleases."""
    given = [part for part in re.split(r"\.", written.lstrip("v")) if part.isdigit()]
    if operator not in {"=", ""}:
        raise RangeError(f"{operator}{written}")
    if not given:
        return
    numbers = [*map(int, given), 0, 0][:3]
    upper = [*numbers[: len(given) - 1], numbers[len(given) - 1] + 1, 0, 0][:3]
    _bound(terms, ">=", ".".join(map(str, numbers)))
    _bound(terms, "<", ".".join(map(str, upper)))


def of_masterminds(text: str) -> ForeignRange:
    """Return a constraint of Masterminds/semver, as skopeo has them. Raises RangeError."""
    groups, without, lowest = [], [], []
    for group in text.split("||"):
        if re.search(r"\S\s+-\s+\S", group):
            groups.append(group.strip())
            lowest.append(False)
            continue
        terms = []
        for operator, written in _split(group):
            match = _VERSION.fullmatch(written)
            rest = (match["rest"] or "") if match else ""
            if rest and rest not in _LOWEST:
                raise RangeError(f"a bound that is a prerelease ({written})")
            lowest.append(bool(rest))
            if operator == "!=":
                if "||" in text or match is None or len(match["numbers"].split(".")) < 3:  # noqa: PLR2004 - all of them
                    raise RangeError(f"!={written}")
                without.append(f"^{_tag_of(_numbers(written))}$")
            else:
                terms.append(f"{operator}{written.removesuffix(rest) if rest else written}")
        groups.append(" ".join(terms) or "*")
    if any(lowest) and not all(lowest):
        raise RangeError("some of its bounds are prereleases, and some are not")
    return ForeignRange(" || ".join(groups), any(lowest), tuple(without))


def _split(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    for match in _TERM.finditer(text):
        if text[at : match.start()].strip(" ,"):
            raise RangeError(f"“{text.strip()}” is no range")
        at = match.end()
        operator = match["operator"]
        found.append((_SPELLINGS.get(operator, operator), match["version"]))
    if text[at:].strip(" ,") or not found:
        raise RangeError(f"“{text.strip()}” is no range")
    return found


def _numbers(written: str) -> tuple[int, int, int]:
    match = _VERSION.match(written)
    if match is None:
        raise RangeError(f"“{written}” is no version")
    major, minor, patch, *_ = [*map(int, match["numbers"].split(".")), 0, 0]
    return major, minor, patch


def _tag_of(numbers: tuple[int, int, int]) -> str:
    """Return the expression of all tags that are this version; zeros at its end may be missing."""
    major, minor, patch = (f"0*{number}" if number else "0+" for number in numbers)
    if numbers[2]:
        return rf"v?{major}\.{minor}\.{patch}"
    if numbers[1]:
        return rf"v?{major}\.{minor}(?:\.{patch})?"
    return rf"v?{major}(?:\.{minor}(?:\.{patch})?)?"
