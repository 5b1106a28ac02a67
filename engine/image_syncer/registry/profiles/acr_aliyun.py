"""Alibaba Cloud Container Registry, personal and enterprise editions: alibabacloud.com/help/en/acr."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import WRITES, Mark, Meaning, Profile, Sign

__all__ = ["ACR_ALIYUN"]

ACR_ALIYUN = Profile(
    "acr-aliyun",
    "Alibaba Cloud Container Registry",
    hosts=("registry.*.aliyuncs.com", "registry-*.*.aliyuncs.com", "*.cr.aliyuncs.com", "registry.aliyuncs.com"),
    marks=(Mark("WWW-Authenticate", '*realm="https://dockerauth*.aliyuncs.com/*'),),
    signs=(
        Sign(
            Meaning.CREATE_FIRST,
            "The namespace {project} does not exist, or does not create repositories at a push: create it in the "
            "console, or turn on that its repositories are created automatically.",
            codes=frozenset({"NAME_UNKNOWN"}),
            words=("namespace not exist", "namespace does not exist", "repository does not exist"),
            operations=WRITES,
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and its versions are immutable: choose another tag, "
            "or allow changes in the repository's settings.",
            words=("immutable", "image version is immutable"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account may not do this with {repository}, or it is in a namespace that the account does not see. The "
            "password is that of the registry (access credential), not that of the console.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"DENIED", "UNAUTHORIZED", "INSUFFICIENT_SCOPE"}),
        ),
    ),
)
