"""GitHub Container Registry: docs.github.com/packages."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import MIB, WRITES, Mark, Meaning, Mounts, Profile, Sign

__all__ = ["GHCR"]

GHCR = Profile(
    "ghcr",
    "GitHub Container Registry",
    hosts=("ghcr.io", "containers.*.ghe.com", "containers.github.com"),
    marks=(Mark("WWW-Authenticate", '*service="ghcr.io"*'), Mark("X-GitHub-Request-Id")),
    mounts=Mounts.SAME_OWNER,
    keeps_partial=False,
    piece_bytes=4 * MIB,
    signs=(
        Sign(
            Meaning.NOT_ALLOWED,
            "The token may not write packages of {project}: it needs the scope write:packages, and for a package that "
            "exists a role that may write to it.",
            statuses=frozenset({401, 403}),
            words=("permission_denied", "token provided does not match expected scopes", "installation not allowed"),
            operations=WRITES,
        ),
    ),
)
