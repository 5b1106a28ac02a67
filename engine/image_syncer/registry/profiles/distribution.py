"""The registry of the distribution project (`registry:2`, `registry:3`): distribution.github.io/distribution."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import WRITES, Meaning, Profile, Sign

__all__ = ["REGISTRY2", "REGISTRY3"]

_SIGNS = (
    Sign(
        Meaning.NOT_ALLOWED,
        "The registry is a mirror of another one (proxy), or read-only for its maintenance: push to the other one.",
        statuses=frozenset({405}),
        codes=frozenset({"UNSUPPORTED"}),
        operations=WRITES,
    ),
)

REGISTRY2 = Profile("registry2", "distribution 2.x", mounts_from_itself=True, keeps_partial=False, signs=_SIGNS)
REGISTRY3 = Profile("registry3", "distribution 3.x", mounts_from_itself=True, keeps_partial=False, signs=_SIGNS)
