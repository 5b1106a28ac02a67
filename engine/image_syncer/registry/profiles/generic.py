"""Any registry that keeps to the OCI distribution specification."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import Profile

__all__ = ["GENERIC"]

GENERIC = Profile("generic", "a registry that keeps to the OCI distribution specification")
