"""Amazon ECR Public, the gallery: docs.aws.amazon.com/AmazonECR/latest/public."""

from __future__ import annotations

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.ecr import ECR
from image_syncer.registry.profiles.profile import Limit, Mark
from image_syncer.values import replace

__all__ = ["ECR_PUBLIC"]

ECR_PUBLIC = replace(
    ECR,
    name="ecr-public",
    title="Amazon ECR Public",
    hosts=("public.ecr.aws", "ecr-public.aws.com"),
    marks=(Mark("WWW-Authenticate", '*service="public.ecr.aws"*'),),
    limits=(
        Limit(frozenset({Operation.PUT_MANIFEST}), 10.0),
        Limit(frozenset({Operation.PUT_UPLOAD}), 10.0),
        Limit(frozenset({Operation.START_UPLOAD}), 10.0),
    ),
)
"""As the private ones, but for its one host and its limits."""
