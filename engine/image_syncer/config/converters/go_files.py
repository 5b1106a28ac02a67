"""The converter of the Go tool's files: the same registries and rules, with references to variables in our spelling."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from image_syncer.config.converters.draft import DraftEntry, DraftRule
from image_syncer.config.document import MappingNode, ScalarNode
from image_syncer.config.fields import Expansion, read_mapping, read_texts
from image_syncer.config.findings import Findings, key_path
from image_syncer.config.registries import GO_ENTRY_KEYS, OWN_ENTRY_KEYS
from image_syncer.config.registry_book import canonical_prefix
from image_syncer.patterns import lazy_pattern

if TYPE_CHECKING:
    from image_syncer.config.converters.draft import Draft
    from image_syncer.config.document import Node
    from image_syncer.config.fields import Dialect


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ANYWHERE = lazy_pattern(rf"\$(?:\{{({_NAME})\}}|({_NAME}))")
_WHOLE = lazy_pattern(rf"\$\{{{_NAME}\}}")
_PROXY = lazy_pattern(r"(?P<head>[^@]*?://[^:@/]*:|[^:@/]*:)(?P<password>.*)(?P<rest>@[^@]*)", re.DOTALL)
_PATHS = ("ca_file", "client_cert", "client_key")


def draft_go_auth(draft: Draft, node: Node, folder: str, dialect: Dialect, *, key: str = "") -> None:
    """Add the entries of an auth file in `folder`, which was read in `dialect` without an error."""
    mapping = read_mapping(node, key, draft.findings)
    entries = mapping.entries if mapping else ()
    counting: dict[str, str] = {}
    for name, _ in entries:
        prefix = canonical_prefix(name.text)
        if prefix not in counting or name.text == prefix:
            counting[prefix] = name.text
    for name, value in entries:
        counts, path = counting[canonical_prefix(name.text)], key_path(key, name.text)
        if counts != name.text:
            draft.lose(draft.notes, name.line, path, f"the same registry as {counts}, which counts")
            continue
        draft.registries[name.text] = DraftEntry(place=(name.line, path))
        _fill_entry(draft, name.text, value, folder, dialect)


def _fill_entry(draft: Draft, name: str, node: Node, folder: str, dialect: Dialect) -> None:
    entry = draft.registries[name]
    path = entry.place[1]
    mapping = read_mapping(node, path, Findings(draft.findings.file))
    by_lower = {known.lower(): known for known in GO_ENTRY_KEYS} if dialect.any_case else {}
    for key, value in mapping.entries if mapping else ():
        known = key.text if key.text in GO_ENTRY_KEYS else by_lower.get(key.text.lower(), "")
        if isinstance(value, ScalarNode) and value.is_null:
            continue
        if known == "identityToken":
            draft.lose(entry.notes, key.line, key_path(path, known), "identity tokens are not in our format", _LOGIN)
        elif known not in OWN_ENTRY_KEYS:
            # The reader has warned of it.
            entry.notes.append(f"{draft.findings.file}:{key.line} [{key_path(path, key.text)}]: unknown key, no effect")
        elif known in entry.values:
            continue
        elif isinstance(value, ScalarNode):
            entry.values[known] = _entry_value(draft, name, known, value, folder, dialect.secrets)
        else:
            entry.values[known] = _headers(draft, name, value) if known == "headers" else value


_LOGIN = "log in with `docker login`: docker's configuration is read too"


def _entry_value(draft: Draft, name: str, key: str, node: ScalarNode, folder: str, secrets: Expansion) -> object:
    place = (node.line, key)
    if key == "password":
        return draft.keep_secret(name, "PASSWORD", _in_our_spelling(node.text, secrets), place)
    if key == "username":
        text = _in_our_spelling(node.text, secrets)
        is_literal = secrets is Expansion.WHOLE and "${" in text and not _WHOLE.fullmatch(text)
        return draft.keep_secret(name, "USERNAME", text, place) if is_literal else text
    if key == "client_key_password":
        return draft.keep_secret(name, "CLIENT_KEY_PASSWORD", node.text, place)
    if key == "proxy" and (match := _PROXY.fullmatch(node.text)):
        return match["head"] + draft.keep_secret(name, "PROXY_PASSWORD", match["password"], place) + match["rest"]
    if key in _PATHS:
        return _path(node.text, folder, draft.options.folder)
    return node


def _headers(draft: Draft, name: str, node: Node) -> Node:
    """Keep each header as a secret: it may be a token."""
    if not isinstance(node, MappingNode):
        return node
    entries = []
    for key, value in node.entries:
        text = value.text if isinstance(value, ScalarNode) else ""
        kind = f"HEADER_{re.sub('[^A-Za-z0-9]+', '_', key.text)}".upper()
        kept = draft.keep_secret(name, kind, text, (key.line, "headers"))
        entries.append((key, ScalarNode(kept, key.line, plain=False)))
    return MappingNode(tuple(entries), node.line)


def _path(text: str, folder: str, new_folder: str | None) -> str:
    if new_folder is not None and posixpath.normpath(folder) == posixpath.normpath(new_folder):
        return text
    return posixpath.normpath(posixpath.join(folder, text))


def _in_our_spelling(text: str, style: Expansion) -> str:
    """Return the text with references as `${NAME}`, the only ones that our format expands."""
    if style is Expansion.ANYWHERE:
        return _ANYWHERE.sub(lambda match: f"${{{match[1] or match[2]}}}", text)
    return text


def draft_go_images(draft: Draft, node: Node, *, key: str = "") -> None:
    """Add the rules of an images file that was read without an error."""
    mapping = read_mapping(node, key, draft.findings)
    for source, destinations in mapping.entries if mapping else ():
        path = key_path(key, source.text)
        texts = [
            _in_our_spelling(one.text, Expansion.ANYWHERE) for one in read_texts(destinations, path, draft.findings)
        ]
        draft.rules.append(DraftRule(source.text, list(dict.fromkeys(texts)), (source.line, path)))
