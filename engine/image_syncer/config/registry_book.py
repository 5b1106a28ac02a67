"""How registries are reached: the settings of each registry and namespace, and the book that looks them up."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import force_setattr

from image_syncer.oci import InvalidReference, Repository, canonical_registry, is_place
from image_syncer.registry import DIRECT, STRICT, Network, Profile, RedirectPolicy
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from image_syncer.config.rate_schedule import RateSchedule
    from image_syncer.registry import Credential


NO_CLOUD = "off"
"""The name of a cloud that means: ask no cloud for this registry."""

_Set = TypeVar("_Set")


class RepositoryTemplate(Value, frozen=True):
    """How a missing repository or project is created; None leaves it to the registry.

    `tags` (names and values), `immutable` (tags cannot be moved) and `kms_key` (name or ARN of the encryption key) are
    for Amazon ECR, `public` (anybody may read) is for Harbor, `scan_on_push` for both.
    """

    create: bool = True
    """False: no repository is created, whatever other entries of the registry say."""
    tags: tuple[tuple[str, str], ...] = ()
    immutable: bool | None = None
    scan_on_push: bool | None = None
    kms_key: str | None = None
    public: bool | None = None


class CloudSettings(Value, frozen=True):
    """The cloud of a registry, beyond what its host name says.

    `name` is one of `CLOUDS`, `NO_CLOUD`, or None where the host name says it. `region` and `instance` (of Alibaba
    Cloud) are needed where the host name lacks them. `profile` is a profile of AWS's configuration files; `endpoint` is
    the address of the cloud's API where it is not the public one.
    """

    name: str | None = None
    region: str | None = None
    profile: str | None = None
    instance: str | None = None
    endpoint: str | None = None


class Limits(Value, frozen=True):
    """What the user allows at one registry: at most `requests_per_s` (None: only what it refuses is a bound), and a
    `rate` of bytes in each direction (None: no bound).
    """

    requests_per_s: float | None = None
    rate: RateSchedule | None = None


NO_LIMITS = Limits()


def canonical_prefix(text: str) -> str:
    """Return the canonical spelling of `registry` or `registry/namespace`: no scheme, no API version, no slash at the
    end, lower-case host, and one name for Docker Hub.

    >>> canonical_prefix("https://index.docker.io/v1/")
    'docker.io'
    """
    if is_place(text):
        return text
    scheme, separator, rest = text.strip().partition("://")
    host, _, path = (rest if separator else scheme).strip("/").partition("/")
    if separator and path in ("v1", "v2"):
        path = ""
    try:
        host = canonical_registry(host)
    except InvalidReference:
        host = host.lower()
    return f"{host}/{path}" if path else host


class RegistryEntry(Value, frozen=True):
    """The settings of one `registry` or `registry/namespace`. The credential's repr hides its secret."""

    prefix: str
    credential: Credential | None = None
    insecure: bool = False
    skip_tls_verify: bool = False
    ca_file: str | None = None
    max_connections: int | None = None
    pieces_above: int | None = None
    limits: Limits = NO_LIMITS
    mirrors: tuple[str, ...] = ()
    network: Network = DIRECT
    redirects: RedirectPolicy = STRICT
    profile: Profile | None = None
    cloud: CloudSettings | None = None
    creation: RepositoryTemplate | None = None


class HostSettings(Value, frozen=True):
    """How one registry host is reached, merged over all entries of the host.

    `insecure`: TLS without verification first, then plain HTTP. `ca_file`: path of a PEM file. Blobs larger than
    `pieces_above` (bytes) are uploaded in pieces. Without a `profile`, the registry is recognised.
    """

    insecure: bool = False
    skip_tls_verify: bool = False
    ca_file: str | None = None
    max_connections: int | None = None
    pieces_above: int | None = None
    limits: Limits = NO_LIMITS
    network: Network = DIRECT
    redirects: RedirectPolicy = STRICT
    profile: Profile | None = None
    cloud: CloudSettings | None = None


class RegistryBook(Value, frozen=True, dict=True):
    """All registry entries. The longest prefix wins, compared on path boundaries; Docker Hub has one name."""

    entries: Sequence[RegistryEntry] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "entries", tuple(self.entries))  # an iterator would be empty after the first use

    @cached_property
    def _by_prefix(self) -> dict[str, RegistryEntry]:
        found: dict[str, RegistryEntry] = {}
        for entry in self.entries:
            found.setdefault(canonical_prefix(entry.prefix), entry)
        return found

    @cached_property
    def _by_host(self) -> dict[str, HostSettings]:
        found: dict[str, list[RegistryEntry]] = {}
        for entry in self.entries:
            prefix = canonical_prefix(entry.prefix)
            found.setdefault(prefix if is_place(prefix) else prefix.partition("/")[0], []).append(entry)
        return {host: _merge(group) for host, group in found.items()}

    @cached_property
    def _has_mirrors(self) -> bool:
        return any(entry.mirrors for entry in self.entries)

    def entry_for(self, repository: Repository) -> RegistryEntry | None:
        """Return the entry with the longest prefix of `registry/name`, or None."""
        return next(self._entries_for(repository), None)

    def template_for(self, repository: Repository) -> RepositoryTemplate | None:
        """Return how to create a missing repository, from the entry with the longest prefix that says it; None where it
        must not be created.
        """
        found = _first(entry.creation for entry in self._entries_for(repository))
        return found if found is not None and found.create else None

    def _entries_for(self, repository: Repository) -> Iterator[RegistryEntry]:
        prefix = f"{repository.registry}/{repository.name}"
        while prefix:
            entry = self._by_prefix.get(prefix)
            if entry is not None:
                yield entry
            prefix = prefix.rpartition("/")[0]

    def host_settings(self, registry: str) -> HostSettings:
        """Return how the host is reached: `insecure` and `skip_tls_verify` if any entry of the host says so, the first
        `ca_file` and `profile`, the smallest `max_connections` and `pieces_above`.
        """
        return self._by_host.get(canonical_prefix(registry), HostSettings())

    def mirrors_of(self, repository: Repository) -> tuple[Repository, ...]:
        """Return the mirrors of a repository, in the order of trial."""
        parts = [mirror.partition("/") for mirror in self.mirrors_written(repository)]
        return tuple(Repository(host, f"{path}{slash}{repository.name}") for host, slash, path in parts)

    def mirrors_written(self, repository: Repository) -> tuple[str, ...]:
        """Return the mirrors of the entry with the longest prefix that has any, each with the prefix of its names."""
        entries = self._entries_for(repository) if self._has_mirrors else ()
        return next((entry.mirrors for entry in entries if entry.mirrors), ())

    def limits(self) -> dict[str, Limits]:
        """Return the limits of each host that has some."""
        return {host: one.limits for host, one in self._by_host.items() if one.limits != NO_LIMITS}


def _merge(entries: Sequence[RegistryEntry]) -> HostSettings:
    return HostSettings(
        insecure=any(entry.insecure for entry in entries),
        skip_tls_verify=any(entry.skip_tls_verify for entry in entries),
        ca_file=_first(entry.ca_file or None for entry in entries),
        max_connections=_least(entry.max_connections or None for entry in entries),
        pieces_above=_least(entry.pieces_above for entry in entries),
        limits=Limits(
            requests_per_s=_least(entry.limits.requests_per_s for entry in entries),
            rate=_first(entry.limits.rate for entry in entries),
        ),
        network=merge_networks(entry.network for entry in entries),
        redirects=RedirectPolicy(
            local=any(entry.redirects.local for entry in entries), plain=any(entry.redirects.plain for entry in entries)
        ),
        profile=_first(entry.profile for entry in entries),
        cloud=_first(entry.cloud for entry in entries),
    )


def _first(values: Iterable[_Set | None]) -> _Set | None:
    return next((value for value in values if value is not None), None)


_Number = TypeVar("_Number", int, float)


def _least(values: Iterable[_Number | None]) -> _Number | None:
    return min((value for value in values if value is not None), default=None)


def merge_networks(networks: Iterable[Network]) -> Network:
    """Return the first value of each setting; a key goes with its certificate."""
    merged = DIRECT
    for network in networks:
        new = {
            field.name: getattr(network, field.name)
            for field in fields(Network)
            if getattr(merged, field.name) == field.default
        }
        if merged.client_cert is not None:
            new = {name: value for name, value in new.items() if not name.startswith("client_")}
        merged = replace(merged, **new)
    return DIRECT if merged.is_default else merged
