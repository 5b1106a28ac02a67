"""Amazon ECR, private registries: docs.aws.amazon.com/AmazonECR/latest/userguide."""

from __future__ import annotations

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import MIB, WRITES, Creation, Limit, Mark, Meaning, Mounts, Profile, Sign

__all__ = ["ECR"]

_SIGNS = (
    Sign(
        Meaning.CREATE_FIRST,
        "The repository {repository} does not exist, and a push does not create it: create it (aws ecr "
        "create-repository), or set create_repositories: true for {registry}.",
        statuses=frozenset({404}),
        codes=frozenset({"NAME_UNKNOWN"}),
        operations=WRITES,
    ),
    Sign(
        Meaning.IMMUTABLE,
        "The tag exists at {repository} with other content, and its tags are immutable: choose another tag, or make "
        "them mutable there.",
        codes=frozenset({"TAG_INVALID"}),
        words=("tag is immutable", "because the repository is immutable", "imagetagalreadyexists"),
        operations=frozenset({Operation.PUT_MANIFEST}),
    ),
    Sign(
        Meaning.NOT_ALLOWED,
        "The token is no longer valid (they last 12 hours), or belongs to another account or region: get a new one "
        "(aws ecr get-login-password).",
        statuses=frozenset({401, 403}),
        words=("authorization token has expired", "no basic auth credentials"),
    ),
    Sign(
        Meaning.NOT_ALLOWED,
        "A policy of {repository} or of the user does not allow this: ecr:BatchGetImage and "
        "ecr:GetDownloadUrlForLayer are needed to read, ecr:InitiateLayerUpload, ecr:UploadLayerPart, "
        "ecr:CompleteLayerUpload and ecr:PutImage to write.",
        statuses=frozenset({401, 403}),
        words=("is not authorized to perform",),
    ),
    Sign(
        Meaning.WAIT,
        "The account's quota for this action is used up for the moment; it can be raised in Service Quotas.",
        codes=frozenset({"TOOMANYREQUESTS"}),
        words=("rate exceeded", "throttlingexception"),
    ),
    Sign(
        Meaning.FULL,
        "A quota of the account is used up (images of a repository, repositories, or tags of an image): raise it in "
        "Service Quotas, or delete old images.",
        words=("limit exceeded", "limitexceededexception", "exceeded the limit"),
        operations=WRITES,
    ),
)

ECR = Profile(
    "ecr",
    "Amazon ECR",
    hosts=(
        "*.dkr.ecr.*.amazonaws.com",
        "*.dkr.ecr-fips.*.amazonaws.com",
        "*.dkr.ecr.*.amazonaws.com.cn",
        "*.dkr-ecr.*.on.aws",
        "*.dkr-ecr-fips.*.on.aws",
        "*.dkr-ecr.*.on.amazonwebservices.com.cn",
    ),
    marks=(Mark("WWW-Authenticate", '*service="ecr.amazonaws.com"*'),),
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
        Limit(frozenset({Operation.START_UPLOAD}), 100.0),
        Limit(frozenset({Operation.PUT_UPLOAD}), 100.0),
    ),
    signs=_SIGNS,
)
