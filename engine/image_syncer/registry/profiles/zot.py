"""Zot: zotregistry.dev."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import Profile

__all__ = ["ZOT"]

ZOT = Profile("zot", "Zot")
