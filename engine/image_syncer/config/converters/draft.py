"""The draft of a file in our own format: what a converter makes of another tool's file, before it is written.

Values are texts, so that references to variables stay references; what has no counterpart is a note beside the place
where it would stand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.config.findings import shown
from image_syncer.errors import Problem
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.findings import Findings

__all__ = ["ConversionOptions", "Draft", "DraftEntry", "DraftRule", "SecretNote", "as_reference", "place_of"]


_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_NO_NAME = re.compile(r"[^A-Za-z0-9]+")


class ConversionOptions(Value, frozen=True):
    """What the user said beside the file. `to` is where the images of a file go that does not say it (skopeo's), below
    their full names if `scoped`. `with_secrets`: passwords are copied. `folder` is where the new file will be (None: it
    is not known), for the paths in it.
    """

    to: str | None = None
    scoped: bool = False
    with_secrets: bool = False
    folder: str | None = None


class SecretNote(Value, frozen=True):
    """A variable that the new file refers to instead of a secret: its `name`, and what to put in it."""

    name: str
    what: str


class DraftEntry(Struct):
    """What is written for one registry. `place` is where it was found, for messages; with a `refusal` it is written as
    a comment.
    """

    values: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    place: tuple[int | None, str] = (None, "")
    refusal: str | None = None


class DraftRule(Struct):
    """One rule; with a `refusal` it is written as a comment."""

    source: str
    destinations: list[str]
    place: tuple[int | None, str]
    tags: dict[str, object] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    platforms: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refusal: str | None = None


class Draft(Struct):
    """The new file, and what was found on the way to it."""

    findings: Findings
    options: ConversionOptions
    registries: dict[str, DraftEntry] = field(default_factory=dict)
    rules: list[DraftRule] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    secrets: list[SecretNote] = field(default_factory=list)
    credentials: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What a converter found for each registry, to compare with; it is not written."""

    __repr__ = repr_without("credentials")

    def entry(self, registry: str, line: int | None, key: str) -> DraftEntry:
        """The entry of a registry, new or as it is."""
        return self.registries.setdefault(registry, DraftEntry(place=(line, key)))

    def lose(self, notes: list[str], line: int | None, key: str, what: str, mend: str | None = None) -> None:
        """Tell, and keep as a note, what the new file cannot say."""
        self.findings.warn(line, key, what, mend)
        notes.append(str(Problem(self.findings.file, line, key or None, what, mend)))

    def refuse(self, rule: DraftRule, what: str, mend: str | None = None) -> None:
        """Leave a rule out: it will be a comment, with the reason."""
        line, key = rule.place
        self.lose(rule.notes, line, key, f"left out: {what}", mend)
        rule.refusal = what

    def keep_secret(self, registry: str, kind: str, text: str, place: tuple[int | None, str]) -> str:
        """What stands for a secret in the new file: a reference that it was already, the secret where the user wants
        it so, or a reference to a variable that is told. A text with `${` would be read as a reference there.
        """
        if _REFERENCE.fullmatch(text) or (self.options.with_secrets and "${" not in text):
            return text
        taken = {secret.name for secret in self.secrets}
        stem = f"{_NO_NAME.sub('_', registry).strip('_')}_{kind}".upper()
        stem = stem if stem[0].isalpha() else f"REGISTRY_{stem}"
        name = next(name for name in _numbered(stem) if name not in taken)
        words = kind.lower().replace("_", " ")
        self.secrets.append(
            SecretNote(name, f"the {words} of {shown(registry)} ({place_of(self.findings.file, place)})")
        )
        return as_reference(name)


def as_reference(name: str) -> str:
    """How our format refers to a variable."""
    return f"${{{name}}}"


def place_of(file: str, place: tuple[int | None, str]) -> str:
    """`file:line`."""
    return file if place[0] is None else f"{file}:{place[0]}"


def _numbered(stem: str) -> Iterable[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1
