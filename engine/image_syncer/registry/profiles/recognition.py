"""Which profile a registry has: by the name of its host, before it was asked anything."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.registry.profiles.generic import GENERIC

if TYPE_CHECKING:
    from image_syncer.registry.profiles.profile import Profile

__all__ = ["PROFILES", "recognise_host"]

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (GENERIC,)}
"""By name, in the order in which hosts are compared with them."""


def recognise_host(registry: str) -> Profile:
    """The profile whose host patterns `registry` fits (its port does not count); the generic one where none does."""
    host, _, port = registry.rpartition(":")
    host = host if port.isdigit() else registry
    for profile in PROFILES.values():
        if any(fnmatchcase(host, pattern) for pattern in profile.hosts):
            return profile
    return GENERIC
