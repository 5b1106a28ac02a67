"""Quay, at quay.io and by oneself: docs.quay.io, docs.projectquay.io."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import WRITES, Mark, Meaning, Profile, Sign

__all__ = ["QUAY"]

QUAY = Profile(
    "quay",
    "Quay",
    hosts=("quay.io",),
    marks=(Mark("WWW-Authenticate", 'bearer realm="*/v2/auth",service="*'),),
    signs=(
        Sign(
            Meaning.WAIT,
            "Quay limits requests of an address: give a user name and password where there are none, or ask for a "
            "higher limit.",
            codes=frozenset({"TOOMANYREQUESTS"}),
            words=("too many requests",),
        ),
        Sign(
            Meaning.FULL,
            "The organization {project} has used up its quota: raise it, or delete old images.",
            words=("quota has been exceeded",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_TAKEN,
            "Quay does not take a manifest of this type: allow it there (FEATURE_GENERAL_OCI_SUPPORT, "
            "ALLOWED_OCI_ARTIFACT_TYPES).",
            codes=frozenset({"MANIFEST_INVALID"}),
            words=("manifest invalid", "unknown media type", "config.mediatype"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account or robot may not write to {repository}; to create it, it has to be a creator in the "
            "organization {project}.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"UNAUTHORIZED", "DENIED", "INSUFFICIENT_SCOPE"}),
            operations=WRITES,
        ),
    ),
)
