"""All doubles by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.doubles.acr_aliyun import ACR_ALIYUN
from image_syncer.embedded.doubles.acr_azure import ACR_AZURE
from image_syncer.embedded.doubles.artifactory import ARTIFACTORY
from image_syncer.embedded.doubles.distribution import REGISTRY2, REGISTRY3
from image_syncer.embedded.doubles.double import Double
from image_syncer.embedded.doubles.ecr import ECR
from image_syncer.embedded.doubles.ecr_public import ECR_PUBLIC
from image_syncer.embedded.doubles.gar import GAR
from image_syncer.embedded.doubles.ghcr import GHCR
from image_syncer.embedded.doubles.gitlab import GITLAB
from image_syncer.embedded.doubles.harbor import HARBOR
from image_syncer.embedded.doubles.hub import HUB
from image_syncer.embedded.doubles.nexus import NEXUS
from image_syncer.embedded.doubles.quay import QUAY
from image_syncer.embedded.doubles.zot import ZOT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOUBLES", "double_of"]

_ALL = (
    ECR,
    ECR_PUBLIC,
    GAR,
    HUB,
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
DOUBLES: Mapping[str, Double] = {double.name: double for double in _ALL}
"""By the name that `Behaviour.double` has."""

_NONE = Double("", "a registry that keeps to the specification", Behaviour())


def double_of(behaviour: Behaviour) -> Double:
    """The double that `behaviour` names; one without rules where it names none. Raises ValueError for a name that no
    double has.
    """
    double = DOUBLES.get(behaviour.double) if behaviour.double else _NONE
    if double is None:
        raise ValueError(f"not a behaviour: there is no double {behaviour.double!r}")
    return double
