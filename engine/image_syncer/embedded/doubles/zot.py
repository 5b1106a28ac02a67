"""zot.

- Keeps to the specification nearly everywhere, and asks for a password by Basic where it asks: https://zotregistry.dev.
- The Range of a PATCH is that of the piece, not of all that came (before 2.1.6):
  https://github.com/regclient/regclient/issues/961, https://github.com/opencontainers/distribution-spec/pull/581.
- A chunk that is out of order is answered with 416, in a PUT too:
  https://github.com/opencontainers/distribution-spec/issues/590.
- A single POST with the blob is taken; schema 1 is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.route import ExtraOperation

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["ZOT"]


def _tell_piece_only(call: Call, response: web.Response) -> None:
    upload = call.storage.upload(call.route.reference)
    if upload is not None and upload.last_chunk_bytes and upload.last_chunk_bytes < upload.offset:
        call.meet("range of the piece")
        response.headers["Range"] = f"0-{upload.last_chunk_bytes - 1}"


ZOT = Double(
    "zot",
    "zot",
    Behaviour(double="zot", users={"syncer": PASSWORD}, basic_realm="Authorization Required", accepts_schema1=False),
    after={ExtraOperation.PATCH_UPLOAD: (_tell_piece_only,)},
)
