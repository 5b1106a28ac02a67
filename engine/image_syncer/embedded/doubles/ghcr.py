"""GitHub's container registry.

- A body with Content-Range may have at most 4 MiB, else 416 REQUESTED_RANGE_NOT_SATISFIABLE, "the request body is too
  large and exceeds the maximum permissible limit of 4.00MiB": https://github.com/wasmCloud/wash-archive/issues/268,
  https://github.com/ocx-sh/ocx/pull/237. A PUT of the whole blob has no such limit.
- Blobs are mounted between repositories of one owner only; others open a session.
- No referrers API, and no DELETE over the distribution API:
  https://docs.github.com/en/packages/learn-github-packages/deleting-and-restoring-a-package.
- Blobs are served from another host, at signed addresses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour, TokenService
from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.doubles.rules import mount_inside
from image_syncer.embedded.refusal import Refusal
from image_syncer.embedded.route import ExtraOperation
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call

__all__ = ["GHCR"]

_PIECE_LIMIT_BYTES = 4 * 2**20


def _refuse_long_piece(call: Call) -> None:
    if "Content-Range" in call.request.headers and (call.request.content_length or 0) > _PIECE_LIMIT_BYTES:
        message = "the request body is too large and exceeds the maximum permissible limit of 4.00MiB"
        raise Refusal(416, "REQUESTED_RANGE_NOT_SATISFIABLE", message, quirk="piece too long")


GHCR = Double(
    "ghcr",
    "GitHub Container Registry",
    Behaviour(
        double="ghcr",
        users={"octocat": PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(expires_in_s=300, service="ghcr.io"),
        redirect_blobs=True,
        referrers=False,
        deletes=False,
    ),
    before={
        Operation.START_UPLOAD: (mount_inside(1),),
        Operation.PUT_UPLOAD: (_refuse_long_piece,),
        ExtraOperation.PATCH_UPLOAD: (_refuse_long_piece,),
    },
    headers={"X-GitHub-Request-Id": "0000:0000:000000:000000:00000000"},
)
