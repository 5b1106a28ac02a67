"""How registries are reached: what was written for each of them, and the book in which it is looked up."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import force_setattr

from image_syncer.config.registry_cloud import CloudSettings, merge_clouds
from image_syncer.config.registry_limits import NO_LIMITS, Limits, merge_limits
from image_syncer.config.registry_network import merge_networks
from image_syncer.config.registry_profile import merge_profiles
from image_syncer.config.registry_safety import merge_redirects
from image_syncer.oci import InvalidReference, Repository, canonical_registry, is_place
from image_syncer.registry import DIRECT, STRICT, Network, Profile, RedirectPolicy
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.config.registry_creation import RepositoryTemplate
    from image_syncer.registry import Credential

__all__ = ["HostSettings", "RegistryBook", "RegistryEntry", "canonical_prefix"]


def canonical_prefix(text: str) -> str:
    """The one spelling of `registry` or `registry/namespace`: no scheme, no API version, no slash at the end,
    lower-case host, and one name for Docker Hub.

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
    """What was written for one `registry` or `registry/namespace`. The credential's repr hides its secret."""

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
    """How one registry host is reached, merged over all entries that name the host.

    `insecure`: TLS without verification first, then plain HTTP. `ca_file`: path of a PEM file. Larger blobs than
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
        force_setattr(self, "entries", tuple(self.entries))  # any iterable will do, and they are gone through again

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
        """The entry with the longest prefix of `registry/name`, or None."""
        return next(self._entries_for(repository), None)

    def template_for(self, repository: Repository) -> RepositoryTemplate | None:
        """How the repository is created where it is missing: what the entry with the longest prefix says that says
        anything; None where it is not to be created.
        """
        said = (entry.creation for entry in self._entries_for(repository))
        found = next((template for template in said if template is not None), None)
        return found if found is not None and found.create else None

    def _entries_for(self, repository: Repository) -> Iterator[RegistryEntry]:
        prefix = f"{repository.registry}/{repository.name}"
        while prefix:
            entry = self._by_prefix.get(prefix)
            if entry is not None:
                yield entry
            prefix = prefix.rpartition("/")[0]

    def host_settings(self, registry: str) -> HostSettings:
        """How the host is reached: `insecure` and `skip_tls_verify` if any entry of the host says so, the first
        `ca_file` and `profile`, the smallest `max_connections` and `pieces_above`.
        """
        return self._by_host.get(canonical_prefix(registry), HostSettings())

    def mirrors_of(self, repository: Repository) -> tuple[Repository, ...]:
        """Where the same images can be had, in the order of trial."""
        parts = [mirror.partition("/") for mirror in self.mirrors_written(repository)]
        return tuple(Repository(host, f"{path}{slash}{repository.name}") for host, slash, path in parts)

    def mirrors_written(self, repository: Repository) -> tuple[str, ...]:
        """The mirrors of the entry with the longest prefix that has any, each with what the names there begin with."""
        prefix = f"{repository.registry}/{repository.name}" if self._has_mirrors else ""
        while prefix:
            entry = self._by_prefix.get(prefix)
            if entry is not None and entry.mirrors:
                return entry.mirrors
            prefix = prefix.rpartition("/")[0]
        return ()

    def limits(self) -> dict[str, Limits]:
        """What the user allows at each host of which an entry bounds something."""
        return {host: one.limits for host, one in self._by_host.items() if one.limits != NO_LIMITS}


def _merge(entries: Sequence[RegistryEntry]) -> HostSettings:
    return HostSettings(
        insecure=any(entry.insecure for entry in entries),
        skip_tls_verify=any(entry.skip_tls_verify for entry in entries),
        ca_file=next((entry.ca_file for entry in entries if entry.ca_file), None),
        max_connections=min((n for entry in entries if (n := entry.max_connections)), default=None),
        pieces_above=min((n for entry in entries if (n := entry.pieces_above) is not None), default=None),
        limits=merge_limits([entry.limits for entry in entries]),
        network=merge_networks(entry.network for entry in entries),
        redirects=merge_redirects(entry.redirects for entry in entries),
        profile=merge_profiles(entry.profile for entry in entries),
        cloud=merge_clouds(entry.cloud for entry in entries),
    )
