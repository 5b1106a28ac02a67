"""Profiles: what is special about each kind of registry, one file for each."""

from __future__ import annotations

from image_syncer.registry.profiles.generic import GENERIC
from image_syncer.registry.profiles.override import (
    OVERRIDABLE_FLAGS,
    OVERRIDABLE_SIZES,
    profile_from_text,
    profile_to_text,
)
from image_syncer.registry.profiles.profile import Creation, Limit, Listing, Mark, Meaning, Mounts, Profile, Sign
from image_syncer.registry.profiles.recognition import PROFILES, recognise_answer, recognise_host
from image_syncer.registry.profiles.signs import find_sign

__all__ = [
    "GENERIC",
    "OVERRIDABLE_FLAGS",
    "OVERRIDABLE_SIZES",
    "PROFILES",
    "Creation",
    "Limit",
    "Listing",
    "Mark",
    "Meaning",
    "Mounts",
    "Profile",
    "Sign",
    "find_sign",
    "profile_from_text",
    "profile_to_text",
    "recognise_answer",
    "recognise_host",
]
