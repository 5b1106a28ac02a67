"""Sonatype Nexus Repository: help.sonatype.com/repomanager3."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import WRITES, Mark, Meaning, Profile, Sign

__all__ = ["NEXUS"]

NEXUS = Profile(
    "nexus",
    "Sonatype Nexus Repository",
    marks=(
        Mark("Server", "nexus/*"),
        Mark("WWW-Authenticate", '*realm="sonatype nexus*'),
    ),
    signs=(
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and the repository's deployment policy forbids to "
            "change it: choose another tag, or allow redeploys there.",
            words=("redeploy", "does not allow updating"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_TAKEN,
            "A proxy or group repository takes no pushes: name the hosted one (its own port, or path).",
            statuses=frozenset({403, 404, 405}),
            words=("read-only", "read only", "deploying to groups is a pro-licensed feature"),
            operations=WRITES,
        ),
    ),
)
