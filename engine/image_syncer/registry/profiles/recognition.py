"""Which profile a registry has: by the name of its host, before it was asked anything, and by its first answer."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.registry.profiles.acr_aliyun import ACR_ALIYUN
from image_syncer.registry.profiles.acr_azure import ACR_AZURE
from image_syncer.registry.profiles.artifactory import ARTIFACTORY
from image_syncer.registry.profiles.distribution import REGISTRY2, REGISTRY3
from image_syncer.registry.profiles.ecr import ECR
from image_syncer.registry.profiles.ecr_public import ECR_PUBLIC
from image_syncer.registry.profiles.gar import GAR
from image_syncer.registry.profiles.generic import GENERIC
from image_syncer.registry.profiles.ghcr import GHCR
from image_syncer.registry.profiles.gitlab import GITLAB
from image_syncer.registry.profiles.harbor import HARBOR
from image_syncer.registry.profiles.hub import HUB
from image_syncer.registry.profiles.nexus import NEXUS
from image_syncer.registry.profiles.quay import QUAY
from image_syncer.registry.profiles.zot import ZOT

if TYPE_CHECKING:
    from image_syncer.registry.message import Headers
    from image_syncer.registry.profiles.profile import Profile

__all__ = ["PROFILES", "recognise_answer", "recognise_host"]

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        GENERIC,
        HUB,
        ECR,
        ECR_PUBLIC,
        GAR,
        ACR_ALIYUN,
        ACR_AZURE,
        GHCR,
        QUAY,
        HARBOR,
        GITLAB,
        NEXUS,
        ARTIFACTORY,
        REGISTRY2,
        REGISTRY3,
        ZOT,
    )
}
"""By name, in the order in which hosts and answers are compared with them."""


def recognise_host(registry: str) -> Profile:
    """The profile whose host patterns `registry` fits (its port and its case do not count); the generic one where none
    does.
    """
    host, _, port = registry.rpartition(":")
    host = (host if port.isdigit() else registry).lower()
    for profile in PROFILES.values():
        if any(fnmatchcase(host, pattern) for pattern in profile.hosts):
            return profile
    return GENERIC


def recognise_answer(headers: Headers) -> Profile:
    """The profile one of whose marks an answer has; the generic one where none has."""
    for profile in PROFILES.values():
        for mark in profile.marks:
            if any(fnmatchcase(value.lower(), mark.value) for value in headers.get_all(mark.header)):
                return profile
    return GENERIC
