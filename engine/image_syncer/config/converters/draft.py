"""The draft of a file in our own format, which a converter fills, and its writer.

Values are texts, so that references to variables stay references; what has no counterpart is a note in its place.
`prove` reads the written text again, and leaves out what our format refuses, with the reason.
"""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING

from msgspec import Struct, field

from image_syncer.config.document import MappingNode, ScalarNode, SequenceNode, parse_yaml
from image_syncer.config.fields import Dialect, Expansion
from image_syncer.config.findings import Findings, shown
from image_syncer.config.model import CatalogRule
from image_syncer.config.own_format import find_collisions, read_own
from image_syncer.config.registries import read_registries
from image_syncer.config.registry_book import canonical_prefix
from image_syncer.errors import Problem
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from image_syncer.config.rules import PlacedRule


_REFERENCE = lazy_pattern(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_NO_NAME = lazy_pattern(r"[^A-Za-z0-9]+")
_RULE = lazy_pattern(r"rules\[(?P<index>[0-9]+)\]")
_PLAIN = lazy_pattern(r"[A-Za-z][A-Za-z0-9_./-]*")
_PLAIN_IN_BLOCK = lazy_pattern(r"[A-Za-z][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_SPECIAL = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_BARE = lazy_pattern(r"[0-9]{1,9}(?:\.[0-9]{1,9})?|(?i:true|false|yes|no|on|off)")
"""Values without quotes that are no texts: numbers and flags."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_WIDTH = 110


class ConversionOptions(Value, frozen=True):
    """The user's options. `to` is the destination of images where the file has none (skopeo's), below their full names
    if `scoped`. `with_secrets`: passwords are copied. `folder` is that of the new file (None: unknown), for its paths.
    """

    to: str | None = None
    scoped: bool = False
    with_secrets: bool = False
    folder: str | None = None


class SecretNote(Value, frozen=True):
    """A variable that the new file has instead of a secret: its `name`, and what its value must be."""

    name: str
    what: str


class DraftEntry(Struct):
    """One registry. `place` is where it was found, for messages; with a `refusal` it is written as a comment."""

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
    """The new file, and the findings of its conversion."""

    findings: Findings
    options: ConversionOptions
    registries: dict[str, DraftEntry] = field(default_factory=dict)
    rules: list[DraftRule] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    secrets: list[SecretNote] = field(default_factory=list)
    credentials: dict[str, tuple[str, str]] = field(default_factory=dict)
    """User name and password of each registry, to compare with; they are not written."""

    __repr__ = repr_without("credentials")

    def entry(self, registry: str, line: int | None, key: str) -> DraftEntry:
        """Return the entry of a registry, new or known."""
        return self.registries.setdefault(registry, DraftEntry(place=(line, key)))

    def lose(self, notes: list[str], line: int | None, key: str, what: str, mend: str | None = None) -> None:
        """Warn of what the new file cannot say, and add a note."""
        self.findings.warn(line, key, what, mend)
        notes.append(str(Problem(self.findings.file, line, key or None, what, mend)))

    def refuse(self, rule: DraftRule, what: str, mend: str | None = None) -> None:
        """Write a rule as a comment, with the reason."""
        line, key = rule.place
        self.lose(rule.notes, line, key, f"left out: {what}", mend)
        rule.refusal = what

    def keep_username(self, registry: str, text: str, place: tuple[int | None, str]) -> str:
        """Return the value of a user name, which is a secret where our format would read it as a reference."""
        return self.keep_secret(registry, "USERNAME", text, place) if "${" in text else text

    def keep_secret(self, registry: str, kind: str, text: str, place: tuple[int | None, str]) -> str:
        """Return the value of a secret in the new file: a reference that it was already, the secret itself where the
        user wants that, or a reference to a new variable. Our format would read a text with `${` as a reference.
        """
        if _REFERENCE.fullmatch(text) or (self.options.with_secrets and "${" not in text):
            return text
        taken = {secret.name for secret in self.secrets}
        stem = f"{_NO_NAME.sub('_', registry).strip('_')}_{kind}".upper()
        stem = stem if stem[0].isalpha() else f"REGISTRY_{stem}"
        name = next(name for name in chain([stem], (f"{stem}_{number}" for number in count(2))) if name not in taken)
        words = kind.lower().replace("_", " ")
        where = self.findings.file if place[0] is None else f"{self.findings.file}:{place[0]}"
        self.secrets.append(SecretNote(name, f"the {words} of {shown(registry)} ({where})"))
        return as_reference(name)


def as_reference(name: str) -> str:
    """Return the reference to a variable in our format."""
    return f"${{{name}}}"


class AnyVariables(dict[str, str]):
    """Environment variables that are all set, to a value that can be part of any name: a conversion knows no values."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> str:
        return "registry.example"


def prove(draft: Draft, heading: Sequence[str]) -> str:
    """Return the text of the file; what cannot be read is a comment in it."""
    for _ in range(3):
        text = write_own(draft, heading)
        findings = Findings(draft.findings.file)
        root = parse_yaml(text).root
        if not isinstance(root, MappingNode):
            raise TypeError("the writer wrote no mapping")
        _, rules = read_own(root, findings, _DIALECT)
        if not findings.errors:
            _warn_of_collisions(draft, [rule for rule in rules if not isinstance(rule, CatalogRule)])
            return write_own(draft, heading)
        _leave_out(draft, root, findings)
    raise RuntimeError("what was written cannot be read")


def converter_dialect(strict: bool, secrets: Expansion, destinations: Expansion, *, any_case: bool = False) -> Dialect:
    """Return a dialect in which all variables are set, and all files can be read."""
    return Dialect(strict, any_case, secrets, destinations, AnyVariables(), lambda name: (name, True))


_DIALECT = converter_dialect(True, Expansion.BRACED, Expansion.BRACED)


def _leave_out(draft: Draft, root: MappingNode, findings: Findings) -> None:
    """Refuse the rules and the registries with errors."""
    in_force = [rule for rule in draft.rules if not rule.refusal]
    for problem in findings.errors:
        match = _RULE.match(problem.key or "")
        if match and not in_force[int(match["index"])].refusal:
            draft.refuse(in_force[int(match["index"])], problem.what, problem.mend)
    # Paths of findings have names as they are shown, so each registry is checked by itself.
    registries = root.get("registries")
    entries = [entry for entry in draft.registries.values() if not entry.refusal]
    seen: set[str] = set()
    for entry, one in zip(entries, registries.entries if isinstance(registries, MappingNode) else (), strict=True):
        alone = Findings(findings.file)
        read_registries(MappingNode((one,), one[0].line), "registries", alone, _DIALECT)
        prefix = canonical_prefix(one[0].text)
        errors = [(problem.what, problem.mend) for problem in alone.errors]
        if prefix in seen:
            errors.append(("another entry is for the same registry", None))
        seen.add(prefix)
        if errors:
            what, mend = errors[0]
            draft.lose(entry.notes, *entry.place, f"left out: {what}", mend)
            entry.refusal = what


def _warn_of_collisions(draft: Draft, rules: Sequence[PlacedRule]) -> None:
    """Warn of two sources for one tag: other tools let one of them win, a run of ours refuses them."""
    in_force = [rule for rule in draft.rules if not rule.refusal]
    for problem in find_collisions(rules)[0]:
        match = _RULE.match(problem.key or "")
        if match:
            rule = in_force[int(match["index"])]
            what = re.sub(r" \([^()]*:[0-9]+\)", "", problem.what)
            draft.lose(rule.notes, *rule.place, what, "a run refuses to begin with both: give one another tag")


def write_own(draft: Draft, heading: Sequence[str]) -> str:
    """Return the text of the file, with the comments `heading`, the notes and the names of secrets at its top."""
    lines = [*_comments(heading), *_comments(draft.notes), *_comments(_secret_lines(draft.secrets)), "version: 2"]
    if draft.registries:
        lines += ["", "registries:"]
        if all(entry.refusal for entry in draft.registries.values()):
            lines[-1] += " {}"
        for name, entry in draft.registries.items():
            lines += _comments(entry.notes, "  ")
            written = [f"  {_scalar(name, in_block=False)}:", *_fields(entry.values, "    ")]
            if not entry.values:
                written[0] += " {}"
            lines += [_commented(line) for line in written] if entry.refusal else written
    lines += ["", "rules:" if any(not rule.refusal for rule in draft.rules) else "rules: []"]
    for rule in draft.rules:
        lines += _comments(rule.notes, "  ")
        written = list(_rule_lines(rule))
        lines += [_commented(line) for line in written] if rule.refusal else written
    return "\n".join(lines) + "\n"


def _secret_lines(secrets: Sequence[SecretNote]) -> Iterator[str]:
    if secrets:
        yield "Set these variables before a run:"
    for secret in secrets:
        yield f"  {secret.name}: {secret.what}"


def _rule_lines(rule: DraftRule) -> Iterator[str]:
    destination: object = rule.destinations[0] if len(rule.destinations) == 1 else rule.destinations
    fields: dict[str, object] = {"source": rule.source, "destination": destination, **rule.values}
    if rule.platforms:
        fields["platforms"] = rule.platforms
    first, *others = _fields(fields, "    ")
    yield f"  - {first.lstrip()}"
    yield from others
    if rule.tags:
        yield "    tags:"
        yield from _fields(rule.tags, "      ")


def _fields(values: Mapping[str, object], indent: str) -> Iterator[str]:
    for name, value in values.items():
        written = f"{indent}{name}: {_flow(value, in_block=True)}"
        items = value.items if isinstance(value, SequenceNode) else value
        if len(written) > _WIDTH and isinstance(items, (list, tuple)):
            yield f"{indent}{name}:"
            yield from (f"{indent}  - {_flow(item, in_block=True)}" for item in items)
        else:
            yield written


def _flow(value: object, *, in_block: bool = False) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, SequenceNode)):
        items = value if isinstance(value, list) else value.items
        return f"[{', '.join(map(_flow, items))}]"
    if isinstance(value, MappingNode):
        return f"{{{', '.join(f'{quoted(key.text)}: {_flow(one)}' for key, one in value.entries)}}}"
    if isinstance(value, ScalarNode):
        bare = value.plain and (value.is_null or _BARE.fullmatch(value.text))
        return (value.text or "null") if bare else _scalar(value.text, in_block=in_block)
    return _scalar(str(value), in_block=in_block)


def _scalar(text: str, *, in_block: bool) -> str:
    pattern = _PLAIN_IN_BLOCK if in_block else _PLAIN
    return text if pattern.fullmatch(text) and text.lower() not in _SPECIAL else quoted(text)


def quoted(text: str) -> str:
    r"""Return `text` in double quotes, with the escapes of YAML and in one line.

    >>> print(quoted('say "a\\b"'))
    "say \"a\\b\""
    """
    return f'"{"".join(_ESCAPES.get(one) or (one if one.isprintable() else _escaped(one)) for one in text)}"'


def _escaped(character: str) -> str:
    return f"\\U{ord(character):08x}"


def _comments(texts: Iterable[str], indent: str = "") -> Iterator[str]:
    for text in texts:
        words = "".join(one if one.isprintable() else "�" for one in text)
        yield f"{indent}# {words}".rstrip()


def _commented(line: str) -> str:
    return f"  # {line[2:]}"
