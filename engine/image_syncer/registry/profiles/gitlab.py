"""GitLab's container registry: docs.gitlab.com/user/packages/container_registry."""

from __future__ import annotations

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import WRITES, Listing, Mark, Meaning, Profile, Sign

__all__ = ["GITLAB"]

GITLAB = Profile(
    "gitlab",
    "GitLab container registry",
    hosts=("registry.gitlab.com",),
    marks=(
        Mark("Gitlab-Container-Registry-Version"),
        Mark("WWW-Authenticate", '*/jwt/auth",service="container_registry"*'),
    ),
    listing=Listing.GITLAB_API,
    signs=(
        Sign(
            Meaning.NOT_ALLOWED,
            "GitLab lists the repositories of a group for an access token that may read its API (read_api) and the "
            "group: give one as the password, and begin the pattern with a group ({registry}/GROUP/**). Those of a "
            "user are listed for nobody: name their repositories.",
            statuses=frozenset({401, 403, 404}),
            operations=frozenset({Operation.LIST_CATALOG}),
        ),
        Sign(
            Meaning.IMMUTABLE,
            "A rule of the project protects the tag at {repository}: choose another tag, or change the rule there.",
            words=("protected", "immutable"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The project of {repository} does not exist, or the account may not do this in it: its path has to be that "
            "of a project, and the account a developer (to write) or reporter (to read) in it.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"DENIED", "UNAUTHORIZED", "INSUFFICIENT_SCOPE"}),
        ),
    ),
)
