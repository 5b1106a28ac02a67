"""Which profile a registry has, by its host or its answers, and what a failure means by the profile's signs.

Also profiles with fields that the user sets, as text for another process.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.kinds import (
    ACR_ALIYUN,
    ACR_AZURE,
    ARTIFACTORY,
    ECR,
    ECR_PUBLIC,
    GAR,
    GHCR,
    GITLAB,
    HARBOR,
    HUB,
    NEXUS,
    QUAY,
    REGISTRY2,
    REGISTRY3,
    ZOT,
)
from image_syncer.registry.profiles.profile import GENERIC, WRITES, Meaning, Mounts, Sign
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.registry.message import Headers
    from image_syncer.registry.profiles.profile import Profile


# The system's words, its number in distribution's driver errors (ENOSPC, EDQUOT), MinIO, and proxies.
_NO_SPACE = (
    "no space left on device",
    "disk quota exceeded",
    '"err":28',
    '"err":122',
    "storagefull",
    "disk full",
    "insufficient storage",
    "not enough space",
)
# Harbor, GitLab, Quay, clouds
_OVER_QUOTA = ("quota", "exceed the configured upper limit", "storage limit", "out of storage", "storage space")
_FULL = "The registry is full or over its quota: free space there or raise the quota, then run again."
_IMMUTABLE = (
    "The tag exists at the destination with other content and may not be changed: choose another tag, or allow changes "
    "there."
)
_LIMITED = (
    "Requests to {registry} are limited: give a user name and password where there are none, or take fewer workers."
)
_TOO_MANY_REQUESTS = 429
_PUT_MANIFEST = frozenset({Operation.PUT_MANIFEST})

_COMMON = (
    # Docker Hub's limiter also answers with the word alone and with other statuses; caches pass it on.
    Sign(Meaning.WAIT, _LIMITED, words=("toomanyrequests",)),
    Sign(Meaning.WAIT, _LIMITED, statuses=frozenset({_TOO_MANY_REQUESTS})),
    Sign(Meaning.FULL, _FULL, statuses=frozenset({507})),
    Sign(Meaning.FULL, _FULL, words=_NO_SPACE),
    # For a read, the same words mean bandwidth or requests.
    Sign(Meaning.FULL, _FULL, words=_OVER_QUOTA, operations=WRITES),
    Sign(Meaning.IMMUTABLE, _IMMUTABLE, statuses=frozenset({412}), operations=_PUT_MANIFEST),
    Sign(
        Meaning.IMMUTABLE,
        _IMMUTABLE,
        words=("immutab", "cannot be overwritten", "already exists and cannot be"),
        operations=_PUT_MANIFEST,
    ),
)


def find_sign(profile: Profile, status: int, codes: tuple[str, ...], text: str, operation: Operation) -> Sign | None:
    """Return the first sign of the profile, or of all registries, that fits a failure; `text` is in lower case."""
    for sign in (*profile.signs, *_COMMON):
        if sign.fits(status, codes, text, operation) and (sign.meaning is Meaning.WAIT or status != _TOO_MANY_REQUESTS):
            return sign
    return None


OVERRIDABLE_FLAGS = ("heads_manifests", "mounts_from_itself", "takes_pieces", "keeps_partial", "cancels_uploads")
OVERRIDABLE_SIZES = ("piece_bytes", "least_piece_bytes")
_FIELDS = (*OVERRIDABLE_FLAGS, *OVERRIDABLE_SIZES, "mounts", "page_size")
_CACHED_TEXTS = 64
"""Texts whose profiles are kept: each lease has two."""


def profile_to_text(profile: Profile) -> str:
    """Return the name of `profile`, followed by its changed fields as JSON."""
    known = PROFILES[profile.name]
    if profile is known:
        return profile.name
    changed = {name: getattr(profile, name) for name in _FIELDS if getattr(profile, name) != getattr(known, name)}
    return f"{profile.name} {orjson.dumps(changed).decode()}" if changed else profile.name


@lru_cache(_CACHED_TEXTS)
def profile_from_text(text: str) -> Profile:
    """Return the profile of a text of `profile_to_text`. Raises KeyError for an unknown name."""
    name, _, changed = text.partition(" ")
    if not changed:
        return PROFILES[name]
    values: dict[str, Any] = orjson.loads(changed)
    if "mounts" in values:
        values["mounts"] = Mounts(values["mounts"])
    return replace(PROFILES[name], **values)


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        *(GENERIC, HUB, ECR, ECR_PUBLIC, GAR, ACR_ALIYUN, ACR_AZURE, GHCR, QUAY),
        *(HARBOR, GITLAB, NEXUS, ARTIFACTORY, REGISTRY2, REGISTRY3, ZOT),
    )
}
"""Profiles by name, in the order in which hosts and answers are compared with them."""


def recognise_host(registry: str) -> Profile:
    """Return the profile whose host patterns match `registry`, without port and case; else the generic one."""
    host, _, port = registry.rpartition(":")
    host = (host if port.isdigit() else registry).lower()
    for profile in PROFILES.values():
        if any(_fits(host, pattern) for pattern in profile.hosts):
            return profile
    return GENERIC


def _fits(host: str, pattern: str) -> bool:
    """Return what `fnmatchcase` does, which compiles each pattern: most are a name, or `*` before the end of one."""
    end = pattern[1:]
    if not any(wildcard in end for wildcard in "*?["):
        return host.endswith(end) if pattern.startswith("*") else host == pattern
    return fnmatchcase(host, pattern)


def recognise_answer(headers: Headers) -> Profile:
    """Return the profile of which an answer has a mark; else the generic one."""
    for profile in PROFILES.values():
        for mark in profile.marks:
            if any(fnmatchcase(value.lower(), mark.value) for value in headers.get_all(mark.header)):
                return profile
    return GENERIC
