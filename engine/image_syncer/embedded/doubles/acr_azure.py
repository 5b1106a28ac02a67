"""Azure Container Registry.

- A token of Microsoft Entra ID is exchanged for a refresh token at `/oauth2/exchange`, and that for an access token at
  `/oauth2/token`; a name and a password get one there too. The answer has `access_token`, and neither
  `token` nor how long it holds:
  https://learn.microsoft.com/en-us/rest/api/containerregistry/access-tokens/get,
  https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md.
- Tags are listed with the action `metadata_read`, not with `pull`: https://github.com/Azure/acr/issues/423,
  https://github.com/Azure/acr/issues/676.
- A body of more than some 20 MB is answered with 413 and a page, "413 Request Entity Too Large -
  AzureContainerRegistry"; pieces of 4 MB are taken: https://github.com/goharbor/harbor/issues/23015.
- A session that broke cannot be gone on with: "service not supporting retries on upload blob for now",
  https://github.com/Azure/azure-sdk-for-python/pull/30388.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from image_syncer.embedded.behaviour import Behaviour, TokenService
from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.doubles.double import PASSWORD, Double, json_answer
from image_syncer.embedded.doubles.rules import no_status, refuse_long_body
from image_syncer.embedded.refusal import Refusal
from image_syncer.embedded.route import ExtraOperation
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["ACR_AZURE"]

_ADMINISTRATOR = "acradmin"
_BODY_LIMIT_BYTES = 20_000_000
_FORM_LIMIT_BYTES = 64 * 1024
_EXCHANGE = "/oauth2/exchange"
_TOO_LARGE = "<html><body><h1>413 Request Entity Too Large - AzureContainerRegistry</h1></body></html>"


async def _exchange(call: Call) -> web.StreamResponse:
    form = parse_qs((await read_small_body(call, _FORM_LIMIT_BYTES)).decode("utf-8", "replace"))
    if form.get("grant_type") != ["access_token"] or not form.get("service"):
        raise Refusal(400, "BAD_REQUEST", "grant_type must be access_token, and service must be given")
    if form.get("access_token") != [PASSWORD]:
        raise Refusal(401, "UNAUTHORIZED", "retrieving permissions failed")
    refresh_token = secrets.token_urlsafe(32)
    call.memory.setdefault("refresh tokens", {})[refresh_token] = _ADMINISTRATOR
    return json_answer({"refresh_token": refresh_token})


ACR_AZURE = Double(
    "acr-azure",
    "Azure Container Registry",
    Behaviour(
        double="acr-azure",
        users={_ADMINISTRATOR: PASSWORD},
        bearer=TokenService(
            expires_in_s=4500,
            say_expiry=False,
            service="example.azurecr.io",
            field_names=("access_token",),
            path="/oauth2/token",
        ),
        list_action="metadata_read",
        redirect_blobs=True,
        keep_partial=False,
    ),
    before={
        Operation.PUT_UPLOAD: (refuse_long_body(_BODY_LIMIT_BYTES, _TOO_LARGE),),
        ExtraOperation.PATCH_UPLOAD: (refuse_long_body(_BODY_LIMIT_BYTES, _TOO_LARGE),),
        Operation.GET_UPLOAD: (no_status,),
    },
    owned=(("POST", _EXCHANGE),),
    answer=_exchange,
)
