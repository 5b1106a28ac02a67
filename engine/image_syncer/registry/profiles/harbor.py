"""Harbor: goharbor.io/docs."""

from __future__ import annotations

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import READS, WRITES, Creation, Listing, Mark, Meaning, Profile, Sign

__all__ = ["HARBOR"]

HARBOR = Profile(
    "harbor",
    "Harbor",
    hosts=("demo.goharbor.io",),
    marks=(
        Mark("WWW-Authenticate", '*service="harbor-registry"*'),
        Mark("WWW-Authenticate", 'basic realm="harbor"*'),
        Mark("X-Harbor-Csrf-Token"),
    ),
    creation=Creation.HARBOR_API,
    listing=Listing.HARBOR_API,
    signs=(
        Sign(
            Meaning.NOT_ALLOWED,
            "Begin the pattern with a project ({registry}/PROJECT/**), and give the account the right to list "
            "repositories in it; only a system administrator gets the list of all projects.",
            statuses=frozenset({401, 403}),
            operations=frozenset({Operation.LIST_CATALOG}),
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and a rule of the project makes it immutable: choose "
            "another tag, or change the rule there.",
            statuses=frozenset({412}),
            words=("immutable",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "A policy of the project forbids to pull this image (vulnerabilities, or no signature): see it in Harbor's "
            "project settings.",
            statuses=frozenset({412}),
            operations=READS,
        ),
        Sign(
            Meaning.CREATE_FIRST,
            "The project {project} does not exist, and a push does not create it: create it in Harbor, or set "
            "create_repositories: true for {registry}.",
            statuses=frozenset({404}),
            codes=frozenset({"NOT_FOUND", "NAME_UNKNOWN"}),
            operations=WRITES,
        ),
        Sign(
            Meaning.FULL,
            "The project {project} has used up its storage quota: raise it, or delete old images and run garbage "
            "collection.",
            words=("quota", "exceed the configured upper limit"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The project {project} does not exist, or the account may not do this in it: create it (or set "
            "create_repositories: true for {registry}), or make the account a developer (to write) or guest (to read) "
            "of it. A proxy cache project takes no pushes.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"UNAUTHORIZED", "DENIED", "FORBIDDEN", "INSUFFICIENT_SCOPE"}),
            operations=WRITES,
        ),
    ),
)
