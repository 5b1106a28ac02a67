"""Registries: the entries of an auth file, or of `registries`, under both spellings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from image_syncer.config.environment import BROKEN_REFERENCE, Expansion, ExpansionError, expand
from image_syncer.config.fields import read_count, read_fields, read_flag, read_mapping, read_size, read_text
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.config.model import RegistryEntry, canonical_prefix
from image_syncer.oci import InvalidReference, parse_repository
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config.tree import Node

__all__ = ["GO_ENTRY_KEYS", "OWN_ENTRY_KEYS", "Dialect", "read_registries"]

OWN_ENTRY_KEYS = (
    "username",
    "password",
    "insecure",
    "ca_file",
    "skip_tls_verify",
    "max_connections",
    "pieces_above",
)
"""Keys of an entry of `registries` in our own format."""

GO_ENTRY_KEYS = (*OWN_ENTRY_KEYS, "identityToken")
"""Keys of an entry of the Go tool's auth file; the last three of our own are not known to the Go tool."""


@dataclass(frozen=True)
class Dialect:
    """How one flavour of file is read.

    `strict`: unknown keys are errors. `any_case`: the case of keys does not count. `secrets`, `destinations`: which
    references to variables are followed there. `find_file` gives the full path of a file that is named in this one,
    and whether it can be read.
    """

    strict: bool
    any_case: bool
    secrets: Expansion
    destinations: Expansion
    environ: Mapping[str, str]
    find_file: Callable[[str], tuple[str, bool]]


def read_registries(node: Node, key: str, findings: Findings, dialect: Dialect) -> tuple[RegistryEntry, ...]:
    """All entries below a node that maps prefixes to them."""
    mapping = read_mapping(node, key, findings)
    if mapping is None:
        return ()
    entries: dict[str, RegistryEntry] = {}
    spellings: dict[str, tuple[str, int]] = {}
    for name, value in mapping.entries:
        path = key_path(key, name.text)
        _check_prefix(name.text, name.line, path, findings)
        entry = _read_entry(name.text, value, path, findings, dialect)
        prefix = canonical_prefix(name.text)
        if entry is None:
            continue
        if prefix in entries and spellings[prefix][0] != name.text:
            _report_same(findings, dialect, name.text, prefix, name.line, path, spellings[prefix])
        if prefix not in entries or name.text == prefix:
            entries[prefix] = entry
            spellings[prefix] = (name.text, name.line)
    return tuple(entries.values())


def _report_same(
    findings: Findings, dialect: Dialect, name: str, prefix: str, line: int, path: str, other: tuple[str, int]
) -> None:
    report = findings.error if dialect.strict else findings.warn
    report(
        line,
        path,
        f"“{shown(name)}” and “{shown(other[0])}” (line {other[1]}) are the same registry",
        f"keep one of them: {shown(prefix)}",
    )


def _check_prefix(prefix: str, line: int, path: str, findings: Findings) -> None:
    canonical = canonical_prefix(prefix)
    host = canonical.partition("/")[0]
    try:
        registry = parse_repository(f"{canonical}/image").registry
    except InvalidReference:
        findings.error(
            line,
            path,
            f"“{shown(prefix)}” is neither a registry nor a registry with a namespace",
            "write quay.io or quay.io/org",
        )
        return
    if registry != host:
        findings.warn(
            line,
            path,
            f"no image begins with “{shown(prefix)}”, so this entry has no effect",
            f"a registry has a dot or a port; for Docker Hub write {registry}/{shown(prefix)}",
        )


def _read_entry(prefix: str, node: Node, path: str, findings: Findings, dialect: Dialect) -> RegistryEntry | None:
    mapping = read_mapping(node, path, findings)
    if mapping is None:
        return None
    known = OWN_ENTRY_KEYS if dialect.strict else GO_ENTRY_KEYS
    fields = read_fields(mapping, known, path, findings, strict=dialect.strict, any_case=dialect.any_case)

    def secret(name: str) -> str:
        value = fields.get(name)
        return "" if value is None else _read_secret(value, key_path(path, name), findings, dialect)

    def flag(name: str) -> bool:
        value = fields.get(name)
        return value is not None and read_flag(value, key_path(path, name), findings)

    def connections(name: str) -> int | None:
        value = fields.get(name)
        # Two: one for manifests and one for blobs, which must not wait for each other.
        return None if value is None else read_count(value, key_path(path, name), findings, least=2)

    def size(name: str) -> int | None:
        value = fields.get(name)
        return None if value is None else read_size(value, key_path(path, name), findings)

    skip_tls_verify = flag("skip_tls_verify")
    if skip_tls_verify:
        findings.warn(
            fields["skip_tls_verify"].line,
            path,
            "the certificate of this registry is not checked: whoever is in between can read the password",
            "name the certificate of its authority with ca_file instead",
        )
    errors_before = len(findings.errors)
    username, password, identity_token = secret("username"), secret("password"), secret("identityToken")
    if len(findings.errors) == errors_before and not identity_token and bool(username) != bool(password):
        there, missing = ("username", "password") if username else ("password", "username")
        findings.warn(node.line, path, f"a {there} without a {missing}", f"write {missing} too, or neither")
    return RegistryEntry(
        prefix=prefix,
        credential=Credential(username, password, identity_token or None) if username or identity_token else None,
        insecure=flag("insecure"),
        skip_tls_verify=skip_tls_verify,
        ca_file=_read_file(fields.get("ca_file"), key_path(path, "ca_file"), findings, dialect),
        max_connections=connections("max_connections"),
        pieces_above=size("pieces_above"),
    )


def _read_secret(node: Node, path: str, findings: Findings, dialect: Dialect) -> str:
    text = read_text(node, path, findings) or ""
    try:
        return expand(text, dialect.secrets, dialect.environ)
    except ExpansionError as error:
        if error.name is None:
            what, mend = BROKEN_REFERENCE, "write ${NAME}"
        elif error.is_telling:
            what, mend = f"the environment variable {error.name} is not set", f"export {error.name}=…"
        else:
            # What follows the dollar sign may well be a part of the password.
            what = "a dollar sign refers to an environment variable that is not set"
            mend = "set it, or put the whole value into a variable and write ${NAME}"
        findings.error(node.line, path, what, mend)
    return ""


def _read_file(node: Node | None, path: str, findings: Findings, dialect: Dialect) -> str | None:
    text = read_text(node, path, findings) if node is not None else None
    if node is None or not text:
        return None
    full_path, readable = dialect.find_file(text)
    if not readable:
        findings.error(node.line, path, f"the file {shown(full_path)} cannot be read", "write the path of a PEM file")
    return full_path
