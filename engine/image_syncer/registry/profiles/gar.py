"""Google Artifact Registry, and Container Registry, whose host names it serves: cloud.google.com/artifact-registry."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import WRITES, Limit, Meaning, Profile, Sign

__all__ = ["GAR"]

GAR = Profile(
    "gar",
    "Google Artifact Registry",
    hosts=("*-docker.pkg.dev", "docker.pkg.dev", "gcr.io", "*.gcr.io"),
    takes_pieces=False,
    keeps_partial=False,
    limits=(Limit(WRITES, 300.0),),
    signs=(
        Sign(
            Meaning.CREATE_FIRST,
            "The repository of {repository} does not exist in the project, and a push does not create it: create it "
            "(gcloud artifacts repositories create --repository-format=docker).",
            statuses=frozenset({404}),
            codes=frozenset({"NAME_UNKNOWN"}),
            operations=WRITES,
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and its tags are immutable: choose another tag, or "
            "allow changes there.",
            words=("immutable",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account has no permission in the project: it needs the role Artifact Registry Reader to read, Writer "
            "to write, and for gcr.io names the right to create the repository at the first push.",
            statuses=frozenset({401, 403}),
            words=("permission", "unauthenticated request"),
        ),
        Sign(
            Meaning.WAIT,
            "The project's quota of requests a minute is used up for the moment; it can be raised in the console.",
            words=("quota exceeded for quota metric", "resource_exhausted"),
        ),
    ),
)
