"""JFrog Artifactory: jfrog.com/help/r/jfrog-artifactory-documentation."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import WRITES, Mark, Meaning, Profile, Sign

__all__ = ["ARTIFACTORY"]

ARTIFACTORY = Profile(
    "artifactory",
    "JFrog Artifactory",
    hosts=("*.jfrog.io", "*.jfrog.com"),
    marks=(
        Mark("X-JFrog-Version"),
        Mark("X-Artifactory-Id"),
        Mark("X-Artifactory-Node-Id"),
        Mark("Server", "artifactory/*"),
        Mark("WWW-Authenticate", '*realm="artifactory realm"*'),
    ),
    signs=(
        Sign(
            Meaning.CREATE_FIRST,
            "The repository {project} does not exist in Artifactory, or is no Docker repository: create a local one, "
            "or give a virtual one a default deployment repository.",
            statuses=frozenset({400, 404, 405}),
            codes=frozenset({"NAME_UNKNOWN"}),
            words=("unsupported docker v2 repository request", "no default deployment repository", "is not a docker"),
            operations=WRITES,
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and the account may not overwrite it: it needs the "
            "permission to delete there; or choose another tag.",
            statuses=frozenset({403}),
            codes=frozenset({"MANIFEST_INVALID"}),
            words=("delete/overwrite", "not enough permissions to overwrite", "needs delete permission"),
            operations=WRITES,
        ),
    ),
)
