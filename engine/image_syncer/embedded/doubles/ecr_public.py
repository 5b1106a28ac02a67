"""Amazon ECR Public; see `ecr_rules` for what it has in common with the private one.

- Tokens come from `/token/` and are asked for with the scope "aws", whatever they are for; nobody in particular may
  pull: https://docs.aws.amazon.com/AmazonECR/latest/public/public-registry-auth.html.
- Nobody may list the repositories of all the world, and blobs are not mounted; ten pulls a second for whoever has
  logged in: https://docs.aws.amazon.com/AmazonECR/latest/public/public-service-quotas.html.
- The token service of the public registry takes the user `AWS`, as the private one does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour, TokenService
from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.doubles.ecr_rules import AFTER, BEFORE
from image_syncer.embedded.fault import RateLimit, RetryAfter
from image_syncer.embedded.refusal import Refusal
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call

__all__ = ["ECR_PUBLIC"]


def _no_catalog(call: Call) -> None:  # noqa: ARG001 - a rule like the others
    raise Refusal(404, "UNSUPPORTED", "the operation is unsupported", quirk="no catalog")


ECR_PUBLIC = Double(
    "ecr-public",
    "Amazon ECR Public",
    Behaviour(
        double="ecr-public",
        users={"AWS": PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(expires_in_s=12 * 3600, service="public.ecr.aws", path="/token/", one_scope="aws"),
        redirect_blobs=True,
        patch_status=201,
        mounts=False,
        implicit_projects=False,
        rate_limits=(RateLimit(("get manifest",), burst=10, per_s=10, retry_after=RetryAfter.NONE),),
    ),
    before={**BEFORE, Operation.LIST_CATALOG: (_no_catalog,)},
    after=AFTER,
)
