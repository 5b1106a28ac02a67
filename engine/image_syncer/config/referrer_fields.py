"""The key `referrers` of a rule in our own format: a text as that of `--referrers`, or a mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from image_syncer.config.fields import read_fields, read_flag, read_mapping, read_text, read_texts
from image_syncer.config.findings import Findings, key_path
from image_syncer.config.referrers import (
    ReferrerSelection,
    check_annotation,
    check_artifact,
    check_depth,
    parse_referrer_selection,
)
from image_syncer.config.tree import ScalarNode
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config.tree import Node

__all__ = ["REFERRER_KEYS", "read_referrer_selection"]

_Value = TypeVar("_Value")

REFERRER_KEYS = ("depth", "types", "exclude", "annotations", "require", "cosign")
"""Keys of `referrers` in a rule."""


def read_referrer_selection(node: Node, key: str, findings: Findings) -> ReferrerSelection:
    """What the node says; after an error, whatever could be read of it."""
    selection = ReferrerSelection()
    if isinstance(node, ScalarNode):
        try:
            return parse_referrer_selection(node.text)
        except ValueError as error:
            findings.error(node.line, key, str(error), "write all, none, or a mapping with types, require and others")
            return selection
    mapping = read_mapping(node, key, findings)
    if mapping is None:
        return selection
    for name, value in read_fields(mapping, REFERRER_KEYS, key, findings, strict=True).items():
        path = key_path(key, name)
        if name == "cosign":
            selection = replace(selection, cosign=read_flag(value, path, findings))
        elif name == "depth":
            text = read_text(value, path, findings)
            depth = _checked(check_depth, text or "", value.line, path, findings)
            selection = selection if depth is None else replace(selection, depth=depth)
        elif name == "annotations":
            selection = replace(selection, annotations=_read_items(check_annotation, value, path, findings))
        else:
            types = _read_items(check_artifact, value, path, findings)
            if name == "types":
                selection = replace(selection, types=types)
            elif name == "exclude":
                selection = replace(selection, exclude=types)
            else:
                selection = replace(selection, require=types)
    return selection


def _read_items(check: Callable[[str], _Value], node: Node, path: str, findings: Findings) -> tuple[_Value, ...]:
    texts = read_texts(node, path, findings)
    found = [_checked(check, item.text, item.line, path, findings) for item in texts]
    return tuple(each for each in found if each is not None)


def _checked(check: Callable[[str], _Value], text: str, line: int, path: str, findings: Findings) -> _Value | None:
    try:
        return check(text)
    except ValueError as error:
        findings.error(line, path, str(error))
        return None
