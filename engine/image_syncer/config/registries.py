"""Registries: the entries of an auth file, or of `registries`, under both spellings.

The key of a registry's entry that names its mirrors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.entry_fields import Dialect, EntryFields
from image_syncer.config.fields import read_fields, read_mapping
from image_syncer.config.findings import Findings, key_path, shown
from image_syncer.config.registry_book import RegistryEntry, canonical_prefix
from image_syncer.config.registry_cloud import CLOUD_KEYS, read_cloud
from image_syncer.config.registry_creation import CREATION_KEYS, read_creation
from image_syncer.config.registry_limits import LIMIT_KEYS, read_limits
from image_syncer.config.registry_network import NETWORK_KEYS, read_network
from image_syncer.config.registry_profile import PROFILE_KEYS, read_profile
from image_syncer.config.registry_safety import SAFETY_KEYS, read_redirects
from image_syncer.oci import InvalidReference, canonical_registry, parse_repository
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from image_syncer.config.tree import Node

__all__ = ["GO_ENTRY_KEYS", "MIRROR_KEYS", "OWN_ENTRY_KEYS", "read_mirrors", "read_registries"]


MIRROR_KEYS = ("mirrors",)
_MEND = "write mirror.example:5000, or mirror.example/proxy-cache where the names there begin with that"


def read_mirrors(entry: EntryFields, prefix: str) -> tuple[str, ...]:
    """The mirrors of the registry of `prefix`: each a host, and perhaps what the names there begin with."""
    found = []
    for text in entry.texts("mirrors"):
        mirror = text.strip().rstrip("/")
        host, _, path = mirror.partition("/")
        try:
            is_one = parse_repository(f"{mirror}/image").registry == canonical_registry(host) and "://" not in mirror
        except InvalidReference:
            is_one = False
        if not is_one:
            problem = f"“{shown(text)}” is no mirror"
        elif canonical_registry(host) == prefix.partition("/")[0] and not path:
            problem = f"“{shown(text)}” is the registry itself"
        else:
            found.append(f"{canonical_registry(host)}/{path}" if path else canonical_registry(host))
            continue
        entry.findings.error(entry.line("mirrors"), entry.key("mirrors"), problem, _MEND)
    return tuple(found)


OWN_ENTRY_KEYS = (
    "username",
    "password",
    "insecure",
    "ca_file",
    "skip_tls_verify",
    "max_connections",
    "pieces_above",
    *LIMIT_KEYS,
    *MIRROR_KEYS,
    *NETWORK_KEYS,
    *SAFETY_KEYS,
    *PROFILE_KEYS,
    *CLOUD_KEYS,
    *CREATION_KEYS,
)
"""Keys of an entry of `registries` in our own format."""

GO_ENTRY_KEYS = (*OWN_ENTRY_KEYS, "identityToken")
"""Keys of an entry of the Go tool's auth file; those of our own beyond its five are not known to the Go tool."""


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

    entry = EntryFields(fields, path, findings, dialect)
    skip_tls_verify = entry.flag("skip_tls_verify")
    if skip_tls_verify:
        findings.warn(
            fields["skip_tls_verify"].line,
            path,
            "the certificate of this registry is not checked: whoever is in between can read the password",
            "name the certificate of its authority with ca_file instead",
        )
    errors_before = len(findings.errors)
    username, password = entry.secret("username"), entry.secret("password")
    identity_token = entry.secret("identityToken")
    if len(findings.errors) == errors_before and not identity_token and bool(username) != bool(password):
        there, missing = ("username", "password") if username else ("password", "username")
        findings.warn(node.line, path, f"a {there} without a {missing}", f"write {missing} too, or neither")
    return RegistryEntry(
        prefix=prefix,
        credential=Credential(username, password, identity_token or None) if username or identity_token else None,
        insecure=entry.flag("insecure"),
        skip_tls_verify=skip_tls_verify,
        ca_file=entry.file("ca_file", "write the path of a PEM file"),
        # Two: one for manifests and one for blobs, which must not wait for each other.
        max_connections=entry.count("max_connections", least=2),
        pieces_above=entry.size("pieces_above"),
        limits=read_limits(entry),
        mirrors=read_mirrors(entry, canonical_prefix(prefix)),
        network=read_network(entry),
        redirects=read_redirects(entry),
        profile=read_profile(entry, canonical_prefix(prefix).partition("/")[0]),
        cloud=read_cloud(entry),
        creation=read_creation(entry),
    )
