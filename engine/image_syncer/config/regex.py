r"""The regular expressions of rules: Go's dialect (RE2) in Python's spelling, matched by RE2 in linear time.

The Go tool compiles them with `regexp.Compile` and searches the tag for a match (`MatchString`). RE2 has `\z`, `\Q…\E`,
`[[:digit:]]`, `(?<name>` and a literal `{,n}`, which Python spells otherwise. Python has look-around, back references,
possessive repetition, conditions and comments, which RE2 does not have. https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from image_syncer.config.findings import RuleError
from image_syncer.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_REGEX_CHARACTERS = 1000
"""A tag has at most 128 characters; a longer expression is a mistake."""

_SAME_ESCAPES = frozenset("afnrtvdDsSwWbBA")
_HEX = lazy_pattern(r"\\x[0-9a-fA-F]{2}")
_FLAGS = lazy_pattern(r"\(\?(?P<on>[ims]*)(?P<off>-[ims]+)?(?P<end>[:)])")
_ESCAPED = lazy_pattern(r"\\.", re.DOTALL)
_REPETITION = lazy_pattern(r"[*+?]|\{[0-9]+(?:,[0-9]*)?\}")
_RANGE = lazy_pattern(r"-[^\]]")
_RESERVED = lazy_pattern(r"[\[&|~]|-(?=-)|(?<=-)-|(?<=:\])-")
"""Literals in a class that Python takes for set operations, of which it warns on stderr, or after a POSIX class for a
range.
"""
_POSIX = lazy_pattern(r"\[:(?P<name>\^?[a-z]+):\]")
_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t\ ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": r"\ -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r\ ",
    "upper": "A-Z",
    "word": r"0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}

_WRITTEN = {"**": "(.+)", "*": "([^/]*)", "?": "[^/]"}
"""Wildcards of repositories and their regular expressions."""


class RegexError(RuleError):
    """An expression that cannot be used, and the `reason`. `position` counts characters from 1; None: unknown."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        self.reason = reason if position is None else f"{reason} (at character {position})"
        super().__init__(f"the regular expression cannot be used: {self.reason}", "see https://golang.org/s/re2syntax")


class _Translator:
    """The translation of one expression, character by character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.parts: list[str] = []

    def translate(self) -> str:
        repeated = False
        while self.at < len(self.text):
            repetition = _REPETITION.match(self.text, self.at)
            if repetition:
                repeated = self._repetition(repetition.group(), repeated)
                continue
            repeated = False
            character = self.text[self.at]
            if character == "\\":
                self._escape(in_class=False)
            elif character == "[":
                self._class()
            elif self.text.startswith("(?", self.at):
                self._group()
            elif character == "{":
                self._take(1, r"\{")
            else:
                self._take(1)
        return "".join(self.parts)

    def _take(self, count: int, written: str | None = None) -> None:
        piece = self.text[self.at : self.at + count]
        self.parts.append(piece if written is None else written)
        self.at += count

    def _fail(self, what: str) -> RegexError:
        return RegexError(what, self.at + 1)

    def _repetition(self, repetition: str, repeated: bool) -> bool:
        if repeated and repetition == "?":
            # A lazy repetition.
            self._take(1)
            if _REPETITION.match(self.text, self.at):
                raise self._fail("a repetition of a repetition")
            return False
        if repeated:
            raise self._fail("a repetition of a repetition")
        self._take(len(repetition))
        return True

    def _escape(self, *, in_class: bool) -> None:
        following = self.text[self.at + 1 : self.at + 2]
        if not following:
            raise self._fail("a backslash at the end")
        if following == "x" and _HEX.match(self.text, self.at):
            self._take(4)
        elif following == "Q" and not in_class:
            end = self.text.find(r"\E", self.at + 2)
            literal = self.text[self.at + 2 : end if end >= 0 else None]
            self._take(len(literal) + (4 if end >= 0 else 2), re.escape(literal))
        elif following == "z" and not in_class:
            self._take(2, r"\Z")
        elif following in _SAME_ESCAPES and not (in_class and following in "bBA"):
            self._take(2)
        elif following.isalnum():
            reference = " (a reference back to a group)" if following.isdigit() else ""
            raise self._fail(f"\\{following} is not supported{reference}")
        else:
            self._take(2)

    def _class(self) -> None:
        opening = self.at
        self._take(2 if self.text.startswith("[^", self.at) else 1)
        if self.text.startswith("]", self.at):
            self._take(1, r"\]")
        while not self.text.startswith("]", self.at):
            if self.at >= len(self.text):
                raise RegexError("a [ that is not closed", opening + 1)
            posix = _POSIX.match(self.text, self.at)
            if posix:
                if posix["name"] not in _POSIX_CLASSES:
                    raise self._fail(f"the class {posix.group()} is not supported")
                self._take(len(posix.group()), _POSIX_CLASSES[posix["name"]])
                continue
            self._class_character()
            if _RANGE.match(self.text, self.at):
                self._take(1)
                self._class_character()
        self._take(1)

    def _class_character(self) -> None:
        if self.text.startswith("\\", self.at):
            self._escape(in_class=True)
        else:
            reserved = _RESERVED.match(self.text, self.at)
            self._take(1, f"\\{reserved.group()}" if reserved else None)

    def _group(self) -> None:
        flags = _FLAGS.match(self.text, self.at)
        if self.text.startswith("(?P<", self.at):
            self._take(4)
        elif self.text.startswith("(?<", self.at) and self.text[self.at + 3 : self.at + 4] not in ("=", "!"):
            self._take(3, "(?P<")
        elif flags and flags["end"] == ":":
            self._take(len(flags.group()))
        elif flags and flags["on"] and not flags["off"]:
            if self.at:
                raise self._fail("flags stand at the beginning or enclose a group: (?i:…)")
            self._take(len(flags.group()))
        else:
            raise self._fail("only (?:…), (?P<name>…), (?i:…) and flags are supported after (?, no look-around")


class Matcher:
    """A compiled expression in Python's spelling. Texts are names: ASCII, without line ends."""

    def __init__(self, pattern: str) -> None:
        import re2

        options = re2.Options()
        options.log_errors = False  # on stderr
        spelling = _ESCAPED.sub(lambda match: r"\z" if match.group() == r"\Z" else match.group(), pattern)
        self._compiled = re2.compile(spelling, options)

    def search(self, text: str) -> bool:
        """Return whether the expression matches anywhere in `text`."""
        return self._compiled.search(text.encode("ascii", "replace")) is not None

    def fullmatch(self, text: str) -> bool:
        """Return whether it matches the whole of `text`."""
        return self._compiled.fullmatch(text.encode("ascii", "replace")) is not None


@lru_cache(maxsize=1024)
def matcher_of(pattern: str) -> Matcher:
    """Return the matcher of `pattern`, compiled once."""
    return Matcher(pattern)


def translate_regex(text: str) -> str:
    r"""Return the Python spelling of an expression in Go's dialect. Raises RegexError.

    >>> translate_regex(r"^v[[:digit:]]+\z")
    '^v[0-9]+\\Z'
    """
    if len(text) > MAX_REGEX_CHARACTERS:
        raise RegexError(f"longer than {MAX_REGEX_CHARACTERS} characters")
    pattern = _Translator(text).translate()
    try:
        re.compile(pattern)
    except re.error as error:
        position = error.pos + 1 if error.pos is not None and pattern == text else None
        raise RegexError(error.msg, position) from None
    except (OverflowError, RecursionError):
        raise RegexError("too large") from None
    import re2

    try:
        matcher_of(pattern)
    except re2.error as error:
        said = error.args[0].decode("utf-8", "replace")
        raise RegexError("too large" if re.search("size|too large|too deep", said) else said) from None
    return pattern


def translate_glob(pattern: str, wildcards: Mapping[str, str] = _WRITTEN) -> str:
    r"""Return the regular expression of a pattern over the whole name, with a group for each `*` and `**`.

    >>> translate_glob("team-*/**")
    'team\\-([^/]*)/(.+)'
    """
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    return "".join(wildcards.get(part) or re.escape(part) for part in parts)


def written_glob(pattern: str) -> str:
    r"""Return the pattern that `translate_glob` translated to `pattern`.

    >>> written_glob(translate_glob("team-*/**"))
    'team-*/**'
    """
    for wildcard, regex in _WRITTEN.items():
        pattern = pattern.replace(regex, wildcard)
    return re.sub(r"\\(.)", r"\1", pattern)
