"""Policies: what may go out, by names, by referrers, by size and age, and by the answer of the user's own program."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.config.document import MappingNode, SequenceNode
from image_syncer.config.fields import Fields, read_fields
from image_syncer.config.findings import Findings, RuleError, key_path, shown
from image_syncer.config.referrers import check_artifact
from image_syncer.config.regex import matcher_of, translate_glob, translate_regex
from image_syncer.oci import InvalidReference, canonical_registry, is_place, registry_names
from image_syncer.patterns import lazy_pattern
from image_syncer.units import format_duration, format_size, parse_duration
from image_syncer.values import TextEnum, Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from image_syncer.config.document import Node
    from image_syncer.config.fields import Dialect
    from image_syncer.oci import Reference


_CONDITIONS = ("sources", "destinations", "require", "max_size", "max_age", "command")
POLICY_KEYS = ("name", "to", *_CONDITIONS, "timeout", "environment", "on_refusal")
LIST_KEYS = ("allow", "deny")
"""Keys of `sources` and `destinations` in a policy."""

DEFAULT_COMMAND_TIMEOUT_S = 30.0
"""A program may ask a service; this is long for one."""

_DAY_S = 86_400
_VARIABLE = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PATTERN = lazy_pattern(r"[\w.:/@*?\[\]!-]+", re.ASCII)
_WRITTEN = {"**": "[^@]+", "*": "[^/@]*", "?": "[^/:@]"}
_ANY_MANIFEST = "([:@].+)?"


class OnRefusal(TextEnum):
    """What to do with an image that a policy refuses; the values are those of the file."""

    FAIL = "fail"
    SKIP = "skip"


class NamePattern(Value, frozen=True):
    """A pattern over whole names (`registry/repository:tag`, or with `@digest`): `written` by the user, `regex` for the
    whole name.
    """

    written: str
    regex: str

    def fits(self, reference: Reference) -> bool:
        """Return whether the name of `reference` matches."""
        return matcher_of(self.regex).fullmatch(_name(reference))

    def fits_any(self, references: Iterable[Reference]) -> bool:
        """Return whether the name of one of them matches."""
        return any(self.fits(each) for each in references)


class NameLists(Value, frozen=True):
    """Names that are allowed (none: all), and names that are denied in any case."""

    allow: tuple[NamePattern, ...] = ()
    deny: tuple[NamePattern, ...] = ()

    def refusal(self, side: str, reference: Reference) -> str | None:
        """Return why `reference`, the `side` ("source") of an image, is refused; None where it is not."""
        names = _all_names(reference) if self.deny else ()
        denied = next((pattern for pattern in self.deny if pattern.fits_any(names)), None)
        if denied is not None:
            return f"the {side} {reference} is denied by “{denied.written}”"
        if self.allow and not any(pattern.fits(reference) for pattern in self.allow):
            return f"the {side} {reference} is not among those that are allowed"
        return None


class PolicyCommand(Value, frozen=True):
    """A program that decides about each image: its whole command line, run without a shell. It has `timeout_s` to
    answer, and sees the environment variables that every program needs, and those of `environment`.
    """

    words: tuple[str, ...]
    timeout_s: float = DEFAULT_COMMAND_TIMEOUT_S
    environment: tuple[str, ...] = ()


class Policy(Value, frozen=True):
    """Conditions for every image that goes to a destination of `to` (none: to any destination). All must hold.

    `require` are types of referrers that the image must have, as in `ReferrerSelection`. Its blobs together may have
    `max_bytes`, and it may have been created `max_age_s` ago at most; None: no such bound.
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
        """Return whether the policy applies to images that go there."""
        return not self.to or any(pattern.fits_any(_all_names(destination)) for pattern in self.to)

    def refusal(self, source: Reference, destination: Reference) -> str | None:
        """Return why the policy refuses the image by its names alone; None where it does not."""
        return self.sources.refusal("source", source) or self.destinations.refusal("destination", destination)

    def conditions(self) -> Iterator[str]:
        """Yield each condition that needs the image itself, in a few words."""
        yield from (f"it has {_article(name)} {name}" for name in self.require)
        if self.max_bytes is not None:
            yield f"it has no more than {format_size(self.max_bytes)}"
        if self.max_age_s is not None:
            yield f"it was created no longer than {format_age(self.max_age_s)} ago"
        if self.command is not None:
            yield f"{shown(self.command.words[0])} lets it through"


def format_age(seconds: float) -> str:
    """Format the age of an image: in days from two days on."""
    days = int(seconds // _DAY_S)
    return f"{days} days" if days > 1 else format_duration(seconds)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" or word == "sbom" else "a"


def refusal_by_name(policies: Sequence[Policy], source: Reference, destination: Reference) -> tuple[Policy, str] | None:
    """Return the first policy that refuses the image by its names, and why."""
    for policy in policies:
        if policy.holds_for(destination) and (why := policy.refusal(source, destination)) is not None:
            return policy, why
    return None


def parse_name_pattern(text: str) -> NamePattern:
    """Parse a pattern over names: `registry.example/team/**`, with a tag or without (any), or a regular expression
    between slashes, which must match the whole name. Raises RuleError.
    """
    if len(text) > 1 and text.startswith("/") and text.endswith("/"):
        return NamePattern(text, translate_regex(text[1:-1]))
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
    # In a layout, the colon of a short name precedes the name.
    tagged = not is_place(text) and re.search(r"[:@]", text.rpartition("/")[2]) is not None
    return NamePattern(text, translate_glob(f"{host}{slash}{rest}", _WRITTEN) + ("" if tagged else _ANY_MANIFEST))


def _all_names(reference: Reference) -> list[Reference]:
    """Return the reference under every name of its registry, so that `:443` behind the host evades no list."""
    at = reference.repository
    return [replace(reference, repository=replace(at, registry=name)) for name in registry_names(at.registry)]


def _name(reference: Reference) -> str:
    if reference.tag is not None:
        return str(replace(reference, digest=None))
    return str(reference)


def read_policies(node: Node, findings: Findings, dialect: Dialect, *, runs_programs: bool) -> tuple[Policy, ...]:
    """Return the policies of a file: one mapping, or a list. Unless it `runs_programs`, the file may name none: it may
    come from others.
    """
    is_list = isinstance(node, SequenceNode)
    items = node.items if isinstance(node, SequenceNode) else (node,)
    if not items:
        findings.error(node.line, "policy", "the list is empty, so everything may go out", "leave the key out")
    policies = []
    for index, item in enumerate(items):
        fields = read_fields(item, POLICY_KEYS, f"policy[{index}]" if is_list else "policy", findings, dialect)
        policies.append(None if fields is None else _read_policy(fields))
        command = item.get("command") if isinstance(item, MappingNode) and not runs_programs else None
        if command is not None:
            what = "a file that is given for its rules alone runs no program"
            mend = "write the policy into the file of --auth, or give this one as --config"
            findings.error(command.line, key_path("policy", "command"), what, mend)
    return tuple(policy for policy in policies if policy is not None)


def _read_policy(fields: Fields) -> Policy | None:
    findings = fields.findings
    errors_before = len(findings.errors)
    if not any(name in fields for name in _CONDITIONS):
        what = "the policy asks for nothing, so everything may go out"
        findings.error(fields.line, fields.path, what, f"write at least one of {', '.join(_CONDITIONS)}")
    on_refusal = fields.choice("on_refusal", [each.value for each in OnRefusal])
    policy = Policy(
        name=fields.text("name") or findings.place(fields.line, fields.path),
        to=_read_patterns(fields, "to"),
        sources=_read_lists(fields, "sources"),
        destinations=_read_lists(fields, "destinations"),
        require=tuple(dict.fromkeys(fields.parsed_items("require", check_artifact))),
        max_bytes=fields.size("max_size"),
        max_age_s=_read_duration(fields, "max_age"),
        command=_read_command(fields),
        on_refusal=OnRefusal(on_refusal or OnRefusal.FAIL),
    )
    return None if len(findings.errors) > errors_before else policy


def _read_patterns(fields: Fields, name: str) -> tuple[NamePattern, ...]:
    return tuple(dict.fromkeys(fields.parsed_items(name, parse_name_pattern)))


def _read_lists(fields: Fields, name: str) -> NameLists:
    lists = fields.fields(name, LIST_KEYS)
    if lists is None:
        return NameLists()
    if not lists.nodes:
        fields.findings.error(lists.line, lists.path, "neither allow nor deny", "write allow: registry.example.com/**")
    return NameLists(_read_patterns(lists, "allow"), _read_patterns(lists, "deny"))


def _read_duration(fields: Fields, name: str) -> float | None:
    if name not in fields:
        return None
    text = fields.text(name)
    with suppress(ValueError):
        if text[-1:].isalpha() and (seconds := parse_duration(text)) > 0:  # a number alone would be seconds
            return seconds
    fields.error(name, f"“{shown(text)}” is no time", "write such as 90d or 30s")
    return None


def _read_command(fields: Fields) -> PolicyCommand | None:
    timeout_s = _read_duration(fields, "timeout")
    environment = fields.texts("environment")
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            fields.error("environment", f"“{shown(name)}” is no name of a variable", "write the name alone")
    if "command" not in fields:
        for name in ("timeout", "environment"):
            if name in fields:
                fields.error(name, f"`{name}` without `command`")
        return None
    words = fields.texts("command")
    if words and not words[0].strip():
        fields.error("command", "no program", "write [/path/of/program, …]")
        return None
    if len(words) == 1 and any(character.isspace() for character in words[0]):
        what = "the command is one word with blanks, and no shell takes it apart"
        fields.error("command", what, "write a list: [program, argument]")
    if words and "/" in words[0]:
        words = (fields.dialect.find_file(words[0])[0], *words[1:])
    return PolicyCommand(words, timeout_s or DEFAULT_COMMAND_TIMEOUT_S, environment) if words else None
