"""Hosts of clouds' registries, what their names say (account, region, instance), and what a cloud gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.registry_book import NO_CLOUD, CloudSettings
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.registry import Credential


class CloudGrant(Value, frozen=True):
    """A credential, its giver (for messages), and the seconds until it expires; None: it does not expire."""

    credential: Credential
    source: str
    lives_s: float | None


class NoIdentityError(Exception):
    """The machine has no identity at the cloud; access to its registry is anonymous."""


class ExtraMissingError(Exception):
    """The SDK of this cloud is not installed."""


TITLES: Mapping[str, str] = {
    "aws": "AWS",
    "google": "Google Cloud",
    "azure": "Azure",
    "aliyun": "Alibaba Cloud",
}
"""The name of each cloud in messages."""

EXTRAS: Mapping[str, str] = {"aws": "aws", "google": "google", "azure": "azure"}
"""The extra of this package that each cloud needs; other clouds need none."""

# AWS: docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html; the partitions are those that
# awslabs/amazon-ecr-credential-helper knows (ecr-login/api/client.go).
_ECR = lazy_pattern(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9][a-z0-9-]*)\."
    r"(?:amazonaws\.com(?:\.cn)?|on\.(?:aws|amazonwebservices\.com\.cn)|sc2s\.sgov\.gov|c2s\.ic\.gov"
    r"|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)
_ECR_PUBLIC = frozenset({"public.ecr.aws", "ecr-public.aws.com"})
ECR_PUBLIC_REGION = "us-east-1"
"""The one region that gives out tokens for the public gallery (docs.aws.amazon.com/AmazonECR/latest/public,
"Registry authentication").
"""
_GOOGLE = lazy_pattern(r"(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+(?:\.[a-z0-9-]+)*\.pkg\.dev")
_AZURE = lazy_pattern(r"[a-z0-9][a-z0-9-]*\.azurecr\.(?:io|cn|us)")
# help.aliyun.com/document_detail/198690.html; the personal edition (registry.REGION.aliyuncs.com) gives no tokens.
_ALIYUN = lazy_pattern(
    r"(?P<instance>[a-z0-9][a-z0-9-]*?)-registry(?:-vpc|-internal)?\.(?P<region>[a-z0-9-]+)\.cr\.aliyuncs\.com"
)


class CloudPlace(Value, frozen=True):
    """A registry of a cloud.

    `is_public`: many repositories need no credential, so that a missing one is no error. `instance` is a name, or an
    identity ("cri-…") where the user wrote one. `ca_file` has certificate authorities for the registry itself, beside
    those of the system.
    """

    cloud: str
    registry: str
    region: str | None = None
    account: str | None = None
    instance: str | None = None
    profile: str | None = None
    endpoint: str | None = None
    ca_file: str | None = None
    is_public: bool = False
    is_fips: bool = False

    @property
    def title(self) -> str:
        """The name of the cloud in messages."""
        return TITLES[self.cloud]


def find_place(
    registry: str, settings: CloudSettings | None = None, *, ca_file: str | None = None
) -> CloudPlace | None:
    """Return the cloud of `registry`, by its host or the settings; None where it has none, or must not ask it."""
    settings = settings or CloudSettings()
    if settings.name == NO_CLOUD:
        return None
    known = _recognise(registry.lower())
    if settings.name is not None and (known is None or known.cloud != settings.name):
        known = CloudPlace(settings.name, registry)
    if known is None:
        return None
    return replace(
        known,
        registry=registry,
        region=settings.region or known.region,
        instance=settings.instance or known.instance,
        profile=settings.profile,
        endpoint=settings.endpoint,
        ca_file=ca_file,
    )


def _recognise(host: str) -> CloudPlace | None:
    if host in _ECR_PUBLIC:
        return CloudPlace("aws", host, region=ECR_PUBLIC_REGION, is_public=True)
    if (match := _ECR.fullmatch(host)) is not None:
        return CloudPlace(
            "aws", host, region=match["region"], account=match["account"], is_fips=match["fips"] is not None
        )
    if _GOOGLE.fullmatch(host):
        return CloudPlace("google", host, is_public=True)
    if _AZURE.fullmatch(host):
        return CloudPlace("azure", host)
    if (match := _ALIYUN.fullmatch(host)) is not None:
        return CloudPlace("aliyun", host, region=match["region"], instance=match["instance"])
    return None
