"""The shapes of our own format as a program writes them: what `make_configuration` takes, for type checkers.

Keys mean what they mean in a file (`schema.json` has a sentence for each), and texts are taken as they are: `${NAME}`
stands for itself. Sizes are bytes, or a text with a unit; paths of files are taken from `directory`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypedDict

__all__ = [
    "CloudData",
    "CreatedData",
    "CreationData",
    "NameListsData",
    "PolicyData",
    "ProfileData",
    "RateWindowData",
    "ReferrersData",
    "RegistryData",
    "RuleData",
    "TagsData",
]

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
    """How repositories that are missing are created."""

    tags: Mapping[str, str]
    immutable: bool
    scan_on_push: bool
    kms_key: str
    public: bool


RateWindowData = TypedDict("RateWindowData", {"rate": _Size, "from": str, "to": str, "days": str}, total=False)
"""Bytes a second, by the time of day: `{"days": "mon-fri", "from": "08:00", "to": "18:00", "rate": "50MB/s"}`."""


class RegistryData(TypedDict, total=False):
    """What is known of one registry, or of a namespace in it."""

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
    """Which tags of the source are meant."""

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
    """Which signatures, SBOMs and attestations go along."""

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
    """What is copied where. `source` and `destination` have to be there."""

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
