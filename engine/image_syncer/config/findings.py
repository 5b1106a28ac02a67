"""Findings: the errors and warnings of one file, gathered so that all of them are told at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.errors import Problem, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Findings", "has_userinfo", "key_path", "nearest", "shown"]

_SHOWN_CHARACTERS = 100
_LOOKED_AT_CHARACTERS = 1000  # what is cut off afterwards need not be searched for secrets, which is slow
# What stands before an @ is a user name and password, unless a digest comes after it.
_USERINFO = re.compile(r"^.*@(?![a-z0-9+._-]+:[0-9a-fA-F]{6,}(?:,|$))", re.DOTALL)
_LONGEST_GUESS = 64


def has_userinfo(text: str) -> bool:
    """Whether the name of an image or registry holds what may be a user name and password: `user:password@…`."""
    return _USERINFO.match(text) is not None


def shown(text: str) -> str:
    """`text` as it may stand in a message: on one line, not too long, without a password before an @."""
    text = redact(_USERINFO.sub("…@", text)[:_LOOKED_AT_CHARACTERS])
    if not text.isprintable():
        text = "".join(character if character.isprintable() else "�" for character in text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def key_path(*parts: str) -> str:
    """The path of a key inside a file: `auth › quay.io › username`."""
    return " › ".join(shown(part) for part in parts if part)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    if len(word) > _LONGEST_GUESS:
        return None
    lowered = {name.lower(): name for name in known}
    import difflib

    found = difflib.get_close_matches(word.lower().replace("-", "_"), lowered, n=1)
    return lowered[found[0]] if found else None


class Findings:
    """What was found in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.holds_secret = False
        """Whether a password stands in the file itself, and not in a variable that it refers to."""

    def place(self, line: int, key: str) -> str:
        """Where something stands, as one text: "images.yaml:3"."""
        return f"{self.file}:{line}" if line else f"{self.file} {key}"

    def error(self, line: int | None, key: str | None, what: str, mend: str | None = None) -> None:
        """Something that keeps a run from starting. Line 0 is none, as what a program made has it."""
        self.errors.append(Problem(self.file, line or None, key or None, what, mend))

    def warn(self, line: int | None, key: str | None, what: str, mend: str | None = None) -> None:
        """Something that is probably not meant."""
        self.warnings.append(Problem(self.file, line or None, key or None, what, mend))
