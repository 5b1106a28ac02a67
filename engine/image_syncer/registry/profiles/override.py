"""Profiles of which single fields are set otherwise, and how they travel to another process."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.registry.profiles.profile import Mounts
from image_syncer.registry.profiles.recognition import PROFILES
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.registry.profiles.profile import Profile

__all__ = ["OVERRIDABLE_FLAGS", "OVERRIDABLE_SIZES", "profile_from_text", "profile_to_text"]

OVERRIDABLE_FLAGS = ("heads_manifests", "mounts_from_itself", "takes_pieces", "keeps_partial", "cancels_uploads")
OVERRIDABLE_SIZES = ("piece_bytes", "least_piece_bytes")
_FIELDS = (*OVERRIDABLE_FLAGS, *OVERRIDABLE_SIZES, "mounts", "page_size")
_READ = 64
"""So many texts are kept as they were read: each lease carries two."""


def profile_to_text(profile: Profile) -> str:
    """The name of `profile`, and behind it, as JSON, what was set otherwise."""
    known = PROFILES[profile.name]
    if profile is known:
        return profile.name
    changed = {name: getattr(profile, name) for name in _FIELDS if getattr(profile, name) != getattr(known, name)}
    return f"{profile.name} {orjson.dumps(changed).decode()}" if changed else profile.name


@lru_cache(_READ)
def profile_from_text(text: str) -> Profile:
    """The profile that `profile_to_text` described; a KeyError for a name that is none."""
    name, _, changed = text.partition(" ")
    if not changed:
        return PROFILES[name]
    values: dict[str, Any] = orjson.loads(changed)
    if "mounts" in values:
        values["mounts"] = Mounts(values["mounts"])
    return replace(PROFILES[name], **values)
