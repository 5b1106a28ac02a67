"""A configuration from values of a program: the keys of our own format, without a file.

Keys mean what they mean in a file (`schema.json` describes each). The typed dictionaries are for type checkers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

from image_syncer.config.document import MAX_DEPTH, MappingNode, ScalarNode, SequenceNode
from image_syncer.config.fields import Dialect, Expansion
from image_syncer.config.file_reading import find_readable
from image_syncer.config.findings import Findings
from image_syncer.config.loader import checked_configuration
from image_syncer.config.own_format import read_own
from image_syncer.config.policy import read_policies
from image_syncer.config.rules import resolve_paths
from image_syncer.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from image_syncer.config.document import Node
    from image_syncer.config.model import Configuration


_Texts = str | Sequence[str]


class _PathLike(Protocol):
    """What `pathlib.Path` is."""

    def __fspath__(self) -> str:
        """The path as text."""


_Path = str | _PathLike
_Size = int | str


class ProfileData(TypedDict, total=False):
    """What a registry of another kind can do, where it is not what its name says (docs/registries.md)."""

    kind: str
    mounts: Literal["anywhere", "same owner", "nowhere"]
    mounts_from_itself: bool
    heads_manifests: bool
    takes_pieces: bool
    keeps_partial: bool
    cancels_uploads: bool
    piece_bytes: _Size
    least_piece_bytes: _Size
    page_size: int


class CloudData(TypedDict, total=False):
    """Which cloud gives a credential (docs/credentials.md)."""

    name: str
    region: str
    profile: str
    instance: str
    endpoint: str


class CreationData(TypedDict, total=False):
    """How missing repositories are created."""

    tags: Mapping[str, str]
    immutable: bool
    scan_on_push: bool
    kms_key: str
    public: bool


RateWindowData = TypedDict("RateWindowData", {"rate": _Size, "from": str, "to": str, "days": str}, total=False)
"""Bytes a second, by the time of day: `{"days": "mon-fri", "from": "08:00", "to": "18:00", "rate": "50MB/s"}`."""


class RegistryData(TypedDict, total=False):
    """The settings of one registry, or of a namespace in it."""

    username: str | None
    password: str | None
    insecure: bool
    ca_file: _Path | None
    skip_tls_verify: bool
    max_connections: int | None
    pieces_above: _Size | None
    requests_per_s: float | None
    rate: _Size | Sequence[RateWindowData] | None
    mirrors: _Texts
    proxy: str | None
    client_cert: _Path | None
    client_key: _Path | None
    client_key_password: str | None
    resolve: _Texts
    interface: str | None
    ip_version: Literal[4, 6] | None
    http_version: Literal["1.1", "2", "3"] | None
    headers: Mapping[str, str]
    allow_local_redirects: bool
    allow_plain_redirects: bool
    profile: str | ProfileData
    cloud: str | CloudData
    create_repositories: bool | CreationData


class CreatedData(TypedDict, total=False):
    """Which images by the time of their creation."""

    newest: int
    after: str
    within: str


class TagsData(TypedDict, total=False):
    """Which tags of the source are selected."""

    include: _Texts
    exclude: _Texts
    regex: str
    exclude_regex: str
    created: CreatedData
    versions: str
    newest: int
    prereleases: bool
    suffix: str


class ReferrersData(TypedDict, total=False):
    """Which signatures, SBOMs and attestations are copied."""

    types: _Texts
    exclude: _Texts
    annotations: _Texts
    require: _Texts
    depth: int
    cosign: bool


class _RuleNames(TypedDict):
    source: _Texts
    destination: _Texts


class RuleData(_RuleNames, total=False):
    """What is copied where. `source` and `destination` are required."""

    platforms: _Texts
    tags: TagsData
    referrers: str | ReferrersData
    min_tags: int
    only: Literal["all", "changed", "missing"]
    match: str
    exclude: _Texts
    exclude_regex: str
    min_repositories: int
    flatten: Literal["-", "_", ".", "__", "--"]


class NameListsData(TypedDict, total=False):
    """Names that are allowed, and names that are not."""

    allow: _Texts
    deny: _Texts


class PolicyData(TypedDict, total=False):
    """What may go out, whatever rule means it."""

    name: str
    to: _Texts
    sources: NameListsData
    destinations: NameListsData
    require: _Texts
    max_size: _Size
    max_age: str
    command: _Texts
    timeout: str
    environment: _Texts
    on_refusal: Literal["fail", "skip"]


_FILE = "configuration"
"""The place of mistakes in messages, instead of a file."""


def make_configuration(
    *,
    rules: Iterable[RuleData] = (),
    registries: Mapping[str, RegistryData] | None = None,
    policies: Iterable[PolicyData] = (),
    directory: str | os.PathLike[str] = ".",
) -> Configuration:
    """Make a configuration from the keys of our own format (docs/configuration.md), with the same meaning and checks.

        make_configuration(
            rules=[{"source": "quay.io/coreos/etcd", "destination": "localhost:5000/etcd", "tags": {"newest": 3}}],
            registries={"localhost:5000": {"insecure": True}, "quay.io": {"proxy": "http://proxy.example.com:3128"}},
        )

    Texts are taken as they are, `${NAME}` too. None is the same as a missing key. Relative paths of certificates and
    layouts are taken from `directory`. For `plan` and `sync`, `dataclasses.replace` can add rules, such as those of
    `rule_from_arguments`.

    Raises ConfigurationError with every mistake: unknown keys, wrong values, two rules for one tag, files that cannot
    be read.
    """
    findings = Findings(_FILE)
    wanted = {"version": 2, "registries": {} if registries is None else registries, "rules": list(rules)}
    root = _node_of(wanted, "", 0)
    where = str(Path(directory).absolute())

    def find_file(name: str) -> tuple[str, bool]:
        return find_readable(where, name)

    dialect = Dialect(True, False, Expansion.BRACED, Expansion.BRACED, None, find_file)
    entries, found = read_own(root, findings, dialect) if isinstance(root, MappingNode) else ((), [])
    told = list(policies)
    read = read_policies(_node_of(told, "policies", 0), findings, dialect, runs_programs=True) if told else ()
    placed = [resolve_paths(where, each) for each in found]
    return checked_configuration(entries, placed, read, findings.errors, findings.warnings)


def _node_of(value: object, key: str, depth: int) -> Node:
    """Return the value as a file would have it, at line 0, which means no line."""
    if depth > MAX_DEPTH:
        raise _no_value(key, f"nested more than {MAX_DEPTH} levels deep")
    if value is None:
        return ScalarNode("", 0, plain=True)
    if isinstance(value, bool):
        return ScalarNode("true" if value else "false", 0, plain=True)
    if isinstance(value, str | os.PathLike):
        return ScalarNode(os.fspath(value) if isinstance(value, os.PathLike) else str(value), 0, plain=False)
    if isinstance(value, int | float):
        return ScalarNode(str(value), 0, plain=True)
    if isinstance(value, Mapping):
        names = ((str(name), each) for name, each in value.items())
        entries = ((ScalarNode(name, 0, plain=False), _node_of(each, name, depth + 1)) for name, each in names)
        return MappingNode(tuple(entries), 0)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return SequenceNode(tuple(_node_of(each, key, depth + 1) for each in value), 0)
    raise _no_value(key, f"{type(value).__name__} is neither text, number, flag, mapping nor list")


def _no_value(key: str, what: str) -> ConfigurationError:
    return ConfigurationError([Problem(_FILE, None, key or None, what, "see docs/api.md for what there can be")])
