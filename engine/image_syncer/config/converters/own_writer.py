"""The writer of our own format: a draft as YAML, with comments where something has no counterpart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.tree import MappingNode, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from image_syncer.config.converters.draft import Draft, DraftRule, SecretNote

__all__ = ["quoted", "write_own"]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_PLAIN_IN_BLOCK = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_SPECIAL = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_BARE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?|(?i:true|false|yes|no|on|off)")
"""What a value without quotes may be where it is no text: a number or a flag."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_WIDTH = 110


def write_own(draft: Draft, heading: Sequence[str]) -> str:
    """The text of the file. `heading` stands at its top, as comments; its notes and the names of secrets after it."""
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
    r"""`text` in double quotes, with the escapes of YAML and in one line.

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
