"""Amazon ECR Public, the gallery: docs.aws.amazon.com/AmazonECR/latest/public."""

from __future__ import annotations

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.ecr import SIGNS
from image_syncer.registry.profiles.profile import MIB, Creation, Limit, Mark, Mounts, Profile

__all__ = ["ECR_PUBLIC"]

ECR_PUBLIC = Profile(
    "ecr-public",
    "Amazon ECR Public",
    hosts=("public.ecr.aws", "ecr-public.aws.com"),
    marks=(Mark("WWW-Authenticate", '*service="public.ecr.aws"*'),),
    creation=Creation.ECR_API,
    tells_many_blobs=True,
    mounts=Mounts.NOWHERE,
    mounts_from_itself=False,
    keeps_partial=False,
    cancels_uploads=False,
    piece_bytes=10 * MIB,
    least_piece_bytes=5 * MIB,
    limits=(
        Limit(frozenset({Operation.PUT_MANIFEST}), 10.0),
        Limit(frozenset({Operation.PUT_UPLOAD}), 10.0),
        Limit(frozenset({Operation.START_UPLOAD}), 10.0),
    ),
    signs=SIGNS,
)
