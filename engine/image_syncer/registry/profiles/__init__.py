"""Profiles: what is special about each kind of registry, one file for each."""

from __future__ import annotations

from image_syncer.registry.profiles.generic import GENERIC
from image_syncer.registry.profiles.profile import Limit, Mark, Meaning, Mounts, Profile, Sign
from image_syncer.registry.profiles.recognition import PROFILES, recognise_answer, recognise_host

__all__ = [
    "GENERIC",
    "PROFILES",
    "Limit",
    "Mark",
    "Meaning",
    "Mounts",
    "Profile",
    "Sign",
    "recognise_answer",
    "recognise_host",
]
