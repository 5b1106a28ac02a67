"""The fields of one registry's entry, read by the name of their key; what is wrong becomes a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.environment import BROKEN_REFERENCE, Expansion, ExpansionError, expand
from image_syncer.config.fields import (
    read_count,
    read_flag,
    read_mapping,
    read_number,
    read_size,
    read_text,
    read_texts,
)
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config.tree import Node

__all__ = ["Dialect", "EntryFields"]


class Dialect(Value, frozen=True):
    """How one flavour of file is read.

    `strict`: unknown keys are errors. `any_case`: the case of keys does not count. `secrets`, `destinations`: which
    references to variables are followed there. `find_file` gives the full path of a file that is named in this one,
    and whether it can be read. Without `environ` no reference is followed: the texts are those of a program.
    """

    strict: bool
    any_case: bool
    secrets: Expansion
    destinations: Expansion
    environ: Mapping[str, str] | None
    find_file: Callable[[str], tuple[str, bool]]


class EntryFields(Value, frozen=True):
    """`fields` of the entry at `path`, in a file of `dialect`. What is not there is None, "" or False."""

    fields: Mapping[str, Node]
    path: str
    findings: Findings
    dialect: Dialect

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def key(self, name: str) -> str:
        """The path of the key, for messages."""
        return key_path(self.path, name)

    def line(self, name: str) -> int | None:
        """Where the value stands."""
        return self.fields[name].line

    def text(self, name: str) -> str:
        """A text as it was written."""
        value = self.fields.get(name)
        return "" if value is None else read_text(value, self.key(name), self.findings) or ""

    def texts(self, name: str) -> tuple[str, ...]:
        """One text or a list of them."""
        value = self.fields.get(name)
        if value is None:
            return ()
        return tuple(node.text for node in read_texts(value, self.key(name), self.findings))

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.fields.get(name)
        return value is not None and read_flag(value, self.key(name), self.findings)

    def count(self, name: str, *, least: int) -> int | None:
        """A whole number from `least`."""
        value = self.fields.get(name)
        return None if value is None else read_count(value, self.key(name), self.findings, least=least)

    def number(self, name: str, *, least: float) -> float | None:
        """A number from `least`."""
        value = self.fields.get(name)
        return None if value is None else read_number(value, self.key(name), self.findings, least=least)

    def size(self, name: str) -> int | None:
        """A size in bytes."""
        value = self.fields.get(name)
        return None if value is None else read_size(value, self.key(name), self.findings)

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """One of `choices`."""
        text = self.text(name)
        if not text or text in choices:
            return text or None
        what = f"{shown(text)} is none of {', '.join(choices)}"
        self.findings.error(self.line(name), self.key(name), what, f"write one of {', '.join(choices)}")
        return None

    def pairs(self, name: str) -> tuple[tuple[str, str, int], ...]:
        """A mapping of names to texts: each name, its text, which may refer to environment variables as `${NAME}`, and
        its line.
        """
        value = self.fields.get(name)
        mapping = None if value is None else read_mapping(value, self.key(name), self.findings)
        found = []
        for key, node in () if mapping is None else mapping.entries:
            text = read_text(node, key_path(self.key(name), key.text), self.findings) or ""
            path = key_path(self.key(name), key.text)
            found.append((key.text, self._expanded(text, Expansion.BRACED, node.line, path), node.line))
        return tuple(found)

    def secret(self, name: str, style: Expansion | None = None) -> str:
        """A text that may refer to environment variables, and is never shown. `style`: other than the file's own."""
        if name not in self.fields:
            return ""
        text = self.text(name)
        value = self._expanded(text, style or self.dialect.secrets, self.line(name), self.key(name))
        if text and value == text and name != "username" and (name != "proxy" or "@" in text):
            self.findings.holds_secret = True
        return value

    def _expanded(self, text: str, style: Expansion, line: int | None, key: str) -> str:
        try:
            return expand(text, style, self.dialect.environ)
        except ExpansionError as error:
            if error.name is None:
                what, mend = BROKEN_REFERENCE, "write ${NAME}"
            elif error.is_telling:
                what, mend = f"the environment variable {error.name} is not set", f"export {error.name}=…"
            else:
                # What follows the dollar sign may well be a part of the password.
                what = "a dollar sign refers to an environment variable that is not set"
                mend = "set it, or put the whole value into a variable and write ${NAME}"
            self.findings.error(line, key, what, mend)
        return ""

    def file(self, name: str, mend: str) -> str | None:
        """The full path of a file that can be read."""
        text = self.text(name)
        if not text:
            return None
        full_path, readable = self.dialect.find_file(text)
        if not readable:
            self.findings.error(self.line(name), self.key(name), f"the file {shown(full_path)} cannot be read", mend)
        return full_path
