"""Profiles: what is special about each kind of registry, one file for each."""

from __future__ import annotations

from image_syncer.registry.profiles.generic import GENERIC
from image_syncer.registry.profiles.profile import Profile
from image_syncer.registry.profiles.recognition import PROFILES, recognise_host

__all__ = ["GENERIC", "PROFILES", "Profile", "recognise_host"]
