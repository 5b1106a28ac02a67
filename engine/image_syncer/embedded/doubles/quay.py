"""Quay.

- A mount without `from` is refused with 400 (older versions, before https://github.com/quay/quay/pull/899):
  https://github.com/GoogleContainerTools/jib/issues/703.
- The referrers of a manifest that is not there are answered with 400: https://github.com/quay/quay/pull/3071.
- Fifty tags at once, whatever is asked for; the Link goes on with `next_page` and a word that only Quay understands,
  and `last` is ignored: https://github.com/regclient/regclient/issues/272,
  https://github.com/deitch/docker_registry2/issues/56.
- Tokens come from `/v2/auth`.
- Who asks for more than some requests a second over a while is told 429, without Retry-After:
  https://docs.quay.io/issues/429.html.
- A quota that is used up answers 403 DENIED, "Quota has been exceeded on namespace":
  https://docs.redhat.com/en/documentation/red_hat_quay/3/html/use_red_hat_quay/red-hat-quay-quota-management-and-enforcement.
- Blobs are served from another host, at signed addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour, PageMarker, TokenService
from image_syncer.embedded.call import parse_digest
from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.doubles.rules import refuse_mount_without_from
from image_syncer.embedded.fault import RateLimit, RetryAfter
from image_syncer.embedded.refusal import Refusal
from image_syncer.embedded.route import ExtraOperation
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call

__all__ = ["QUAY"]

_PAGE = 50


def _need_subject(call: Call) -> None:
    if call.storage.manifest(call.repository, parse_digest(call.route.reference)) is None:
        raise Refusal(400, "MANIFEST_INVALID", "manifest invalid", quirk="no referrers")


def _say_quota(_call: Call, _refusal: Refusal) -> Refusal:
    return Refusal(403, "DENIED", "Quota has been exceeded on namespace")


QUAY = Double(
    "quay",
    "Quay",
    Behaviour(
        double="quay",
        users={"team+robot": PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(expires_in_s=3600, service="quay.io", path="/v2/auth"),
        redirect_blobs=True,
        default_page_size=_PAGE,
        max_page_size=_PAGE,
        page_marker=PageMarker.OPAQUE,
        rate_limits=(RateLimit(burst=300, per_s=50.0, retry_after=RetryAfter.NONE),),
    ),
    before={
        Operation.START_UPLOAD: (refuse_mount_without_from,),
        ExtraOperation.LIST_REFERRERS: (_need_subject,),
    },
    phrases={"no space left": _say_quota},
)
