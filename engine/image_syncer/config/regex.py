r"""The regular expressions of rules: Go's dialect (RE2), carried over to Python's `re`, or refused with a reason.

The Go tool compiles them with `regexp.Compile` and looks for a match anywhere in the tag (`MatchString`). The two
dialects differ in what this module goes through: RE2 has `\z`, `\Q…\E`, `[[:digit:]]`, `(?<name>`, and a literal
`{,n}`; Python has look-around, references back, possessive repetition, conditions and comments, which would not be
understood by the Go tool and can take exponential time. https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re

from image_syncer.config.automaton import automaton_of

__all__ = ["MAX_REGEX_CHARACTERS", "RegexError", "translate_regex"]

MAX_REGEX_CHARACTERS = 1000
"""A tag has at most 128 characters; a longer expression is a mistake."""

_SAME_ESCAPES = frozenset("afnrtvdDsSwWbBA")
_HEX = re.compile(r"\\x[0-9a-fA-F]{2}")
_FLAGS = re.compile(r"\(\?(?P<on>[ims]*)(?P<off>-[ims]+)?(?P<end>[:)])")
_REPETITION = re.compile(r"[*+?]|\{[0-9]+(?:,[0-9]*)?\}")
_POSIX = re.compile(r"\[:(?P<name>\^?[a-z]+):\]")
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


class RegexError(ValueError):
    """An expression that cannot be used. `position` counts characters from 1, None where it is not known."""

    def __init__(self, what: str, position: int | None = None) -> None:
        super().__init__(what if position is None else f"{what} (at character {position})")


class _Translator:
    """Walks through one expression."""

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
            # A lazy repetition, which ends here.
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
            character = self.text[self.at]
            posix = _POSIX.match(self.text, self.at)
            if posix:
                if posix["name"] not in _POSIX_CLASSES:
                    raise self._fail(f"the class {posix.group()} is not supported")
                self._take(len(posix.group()), _POSIX_CLASSES[posix["name"]])
            elif character == "\\":
                self._escape(in_class=True)
            elif character in "[&|~":
                # Literal today, but Python means to give doubled ones a meaning.
                self._take(1, f"\\{character}")
            else:
                self._take(1)
        self._take(1)

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


def translate_regex(text: str) -> str:
    r"""The Python spelling of an expression in Go's dialect; raises RegexError with a sentence for people.

    >>> translate_regex(r"^v[[:digit:]]+\z")
    '^v[0-9]+\\Z'
    """
    if len(text) > MAX_REGEX_CHARACTERS:
        raise RegexError(f"longer than {MAX_REGEX_CHARACTERS} characters")
    pattern = _Translator(text).translate()
    try:
        re.compile(pattern)
        automaton_of(pattern)
    except re.error as error:
        position = error.pos + 1 if error.pos is not None and pattern == text else None
        raise RegexError(error.msg, position) from None
    except (OverflowError, RecursionError):
        raise RegexError("too large") from None
    return pattern
