"""Policies: what may go out, by the names of sources and destinations, by what refers to an image, by its size and
age, and by what a program of the user's says.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.config.automaton import automaton_of
from image_syncer.config.findings import shown
from image_syncer.config.rules import RuleError, parse_expression
from image_syncer.oci import InvalidReference, canonical_registry, is_place, registry_names
from image_syncer.units import format_duration, format_size
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from image_syncer.oci import Reference

__all__ = [
    "DEFAULT_COMMAND_TIMEOUT_S",
    "NameLists",
    "NamePattern",
    "OnRefusal",
    "Policy",
    "PolicyCommand",
    "format_age",
    "parse_name_pattern",
    "refusal_by_name",
]

DEFAULT_COMMAND_TIMEOUT_S = 30.0
"""A program may ask a service; one that says nothing for so long will not."""

_DAY_S = 86_400
_PATTERN = re.compile(r"[\w.:/@*?\[\]!-]+", re.ASCII)
_PARTS = re.compile(r"(\*\*|\*|\?)")
_WRITTEN = {"**": "[^@]+", "*": "[^/@]*", "?": "[^/:@]"}
_ANY_MANIFEST = "([:@].+)?"


class OnRefusal(str, Enum):
    """What to do with an image that a policy refuses; the values are those of the file."""

    FAIL = "fail"
    SKIP = "skip"

    def __str__(self) -> str:
        return self.value


class NamePattern(Value, frozen=True):
    """A pattern over whole names (`registry/repository:tag`, or with `@digest`): `written` by the user, `regex` for the
    whole name.
    """

    written: str
    regex: str

    def fits(self, reference: Reference) -> bool:
        """Whether the name of `reference` is meant."""
        return automaton_of(self.regex).fullmatch(_name(reference))

    def fits_any(self, references: Iterable[Reference]) -> bool:
        """Whether the name of one of them is meant."""
        return any(self.fits(each) for each in references)


class NameLists(Value, frozen=True):
    """What `allow` does not have is refused, if it has anything; and what `deny` has, always."""

    allow: tuple[NamePattern, ...] = ()
    deny: tuple[NamePattern, ...] = ()

    def refusal(self, side: str, reference: Reference) -> str | None:
        """Why `reference`, which is the `side` ("source"), is refused; None where it is not."""
        names = _all_names(reference) if self.deny else ()
        denied = next((pattern for pattern in self.deny if pattern.fits_any(names)), None)
        if denied is not None:
            return f"the {side} {reference} is denied by “{denied.written}”"
        if self.allow and not any(pattern.fits(reference) for pattern in self.allow):
            return f"the {side} {reference} is not among those that are allowed"
        return None


class PolicyCommand(Value, frozen=True):
    """A program that is asked about each image: its whole command line, run without a shell. It has `timeout_s` to
    answer, and sees of our environment what every program needs, and the variables named in `environment`.
    """

    words: tuple[str, ...]
    timeout_s: float = DEFAULT_COMMAND_TIMEOUT_S
    environment: tuple[str, ...] = ()


class Policy(Value, frozen=True):
    """Conditions for every image that goes to one of the places that `to` means (none: to any place). All have to hold.

    `require` are types of what has to refer to the image, as in `ReferrerSelection`. An image may have `max_bytes` in
    all its blobs, and may have been created `max_age_s` ago at most; None: no such bound.
    """

    name: str
    to: tuple[NamePattern, ...] = ()
    sources: NameLists = field(default_factory=NameLists)
    destinations: NameLists = field(default_factory=NameLists)
    require: tuple[str, ...] = ()
    max_bytes: int | None = None
    max_age_s: float | None = None
    command: PolicyCommand | None = None
    on_refusal: OnRefusal = OnRefusal.FAIL

    def holds_for(self, destination: Reference) -> bool:
        """Whether what goes there is subject to it."""
        return not self.to or any(pattern.fits_any(_all_names(destination)) for pattern in self.to)

    def refusal(self, source: Reference, destination: Reference) -> str | None:
        """Why names alone are reason enough to refuse the image; None where they are not."""
        return self.sources.refusal("source", source) or self.destinations.refusal("destination", destination)

    def conditions(self) -> Iterator[str]:
        """What names do not tell: what an image is looked at for before it is copied, each in a few words."""
        yield from (f"it has {_article(name)} {name}" for name in self.require)
        if self.max_bytes is not None:
            yield f"it has no more than {format_size(self.max_bytes)}"
        if self.max_age_s is not None:
            yield f"it was created no longer than {format_age(self.max_age_s)} ago"
        if self.command is not None:
            yield f"{shown(self.command.words[0])} lets it through"


def format_age(seconds: float) -> str:
    """How old an image is, or may be, as people read it: in days from two days on."""
    days = int(seconds // _DAY_S)
    return f"{days} days" if days > 1 else format_duration(seconds)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" or word == "sbom" else "a"


def refusal_by_name(policies: Sequence[Policy], source: Reference, destination: Reference) -> tuple[Policy, str] | None:
    """The first policy that refuses the image for its names, and why."""
    for policy in policies:
        if policy.holds_for(destination) and (why := policy.refusal(source, destination)) is not None:
            return policy, why
    return None


def parse_name_pattern(text: str) -> NamePattern:
    """A pattern over names: `registry.example/team/**`, with a tag or without (any), or a regular expression between
    slashes, which has to match the whole name. Raises RuleError.
    """
    if len(text) > 1 and text.startswith("/") and text.endswith("/"):
        return NamePattern(text, parse_expression(text[1:-1]))
    host, slash, rest = text.partition("/")
    begins = rest and (host == "localhost" or re.search(r"[.:*?]", host))
    if not _PATTERN.fullmatch(text) or not (begins or (not slash and text.startswith("**"))):
        raise RuleError(
            f"“{shown(text)}” fits no image",
            "write registry.example.com/team/**, docker.io/library/nginx:1.*, or /expression/",
        )
    if not is_place(text) and "*" not in host and "?" not in host:
        try:
            host = canonical_registry(host)
        except InvalidReference as error:
            raise RuleError(str(error)) from None
    # At a place, the colon of a short name stands before the name.
    tagged = not is_place(text) and re.search(r"[:@]", text.rpartition("/")[2]) is not None
    return NamePattern(text, _translate(f"{host}{slash}{rest}") + ("" if tagged else _ANY_MANIFEST))


def _translate(pattern: str) -> str:
    return "".join(_WRITTEN.get(part) or re.escape(part) for part in _PARTS.split(pattern))


def _all_names(reference: Reference) -> list[Reference]:
    """The reference by every name of its registry: who writes `:443` behind it gets around no list."""
    at = reference.repository
    return [replace(reference, repository=replace(at, registry=name)) for name in registry_names(at.registry)]


def _name(reference: Reference) -> str:
    if reference.tag is not None:
        return str(replace(reference, digest=None))
    return str(reference)
