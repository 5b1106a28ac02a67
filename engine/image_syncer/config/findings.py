"""The errors and warnings of one file, collected so that a run reports all of them at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from image_syncer.errors import Problem, redact
from image_syncer.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_SHOWN_CHARACTERS = 100
_SEARCHED_CHARACTERS = 1000  # the search for secrets is slow, and only the first 100 characters are shown
# Text before an @ is a user name and password, unless a digest follows.
_USERINFO = lazy_pattern(r"^.*@(?![a-z0-9+._-]+:[0-9a-fA-F]{6,}(?:,|$))", re.DOTALL)
_LONGEST_GUESS = 64
_Parsed = TypeVar("_Parsed")


class RuleError(ValueError):
    """A text that cannot be used: what is wrong, and what to write instead."""

    def __init__(self, what: str, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


def has_userinfo(text: str) -> bool:
    """Return whether the name of an image or registry may hold a user name and password: `user:password@…`."""
    return _USERINFO.match(text) is not None


def shown(text: str) -> str:
    """Return `text` for a message: on one line, shortened, without a password before an @."""
    if "@" in text:
        text = _USERINFO.sub("…@", text)
    text = redact(text[:_SEARCHED_CHARACTERS])
    if not text.isprintable():
        text = "".join(character if character.isprintable() else "�" for character in text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def key_path(*parts: str) -> str:
    """Return the path of a key inside a file: `auth › quay.io › username`."""
    return " › ".join(shown(part) for part in parts if part)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that the user probably meant, or None."""
    if len(word) > _LONGEST_GUESS:
        return None
    lowered = {name.lower(): name for name in known}
    import difflib

    found = difflib.get_close_matches(word.lower().replace("-", "_"), lowered, n=1)
    return lowered[found[0]] if found else None


class Findings:
    """The errors and warnings of one file. Line 0 means no line: the values come from a program."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.holds_secret = False
        """Whether the file itself holds a password, not only a variable that refers to one."""

    def place(self, line: int | None, key: str) -> str:
        """Return the place of a value as text: "images.yaml:3"."""
        return f"{self.file}:{line}" if line else f"{self.file} {key}"

    def error(self, line: int | None, key: str | None, what: str, mend: str | None = None) -> None:
        """Add a mistake that prevents the run."""
        self.errors.append(Problem(self.file, line or None, key or None, what, mend))

    def warn(self, line: int | None, key: str | None, what: str, mend: str | None = None) -> None:
        """Add a warning."""
        self.warnings.append(Problem(self.file, line or None, key or None, what, mend))

    def attempt(
        self, parse: Callable[[str], _Parsed], text: str, line: int | None, key: str | None, mend: str | None = None
    ) -> _Parsed | None:
        """Return `parse(text)`. A ValueError becomes an error at `line` and `key`, and the result is None."""
        try:
            return parse(text)
        except RuleError as error:
            self.error(line, key, error.what, error.mend)
        except ValueError as error:
            self.error(line, key, str(error), mend)
        return None
