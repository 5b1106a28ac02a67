"""Docker Hub: docs.docker.com/docker-hub."""

from __future__ import annotations

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import WRITES, Limit, Listing, Mark, Meaning, Profile, Quota, Sign

__all__ = ["HUB"]

HUB = Profile(
    "hub",
    "Docker Hub",
    hosts=("docker.io",),
    api_host="registry-1.docker.io",
    listing=Listing.HUB_API,
    listing_host="hub.docker.com",
    has_catalog=False,
    marks=(Mark("WWW-Authenticate", '*service="registry.docker.io"*'),),
    # Pulls are counted over hours, by GET of manifests; blobs, HEAD and pushes are let in all the while. The figure
    # binds nobody: what counts is that a manifest which is refused makes nobody wait but other manifests.
    limits=(Limit(frozenset({Operation.GET_MANIFEST}), 100.0),),
    # docs.docker.com/docker-hub/usage: of an address, and of a personal account; paid ones have none.
    quotas=(
        Quota(frozenset({Operation.GET_MANIFEST}), 100, 6, "without a login"),
        Quota(frozenset({Operation.GET_MANIFEST}), 200, 6, "with a personal account"),
    ),
    signs=(
        Sign(
            Meaning.WAIT,
            "Docker Hub counts the pulls of an account or an address: give a user name and password where there are "
            "none, or wait until the window of the limit has passed.",
            codes=frozenset({"TOOMANYREQUESTS"}),
            words=("toomanyrequests", "pull rate limit"),
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and the repository makes its tags immutable: choose "
            "another tag, or allow changes there.",
            words=("immutable",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account may not write to {repository}, or the name belongs to somebody else: log in as its owner, "
            "or as a member with the right to write, with an access token that may write.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"DENIED", "UNAUTHORIZED", "INSUFFICIENT_SCOPE"}),
            operations=WRITES,
        ),
    ),
)
