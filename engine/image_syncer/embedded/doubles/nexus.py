"""Sonatype Nexus Repository 3, a hosted repository on a connector port of its own.

- Basic.
- A list without tags is null.
- The Link of a page leads below `/repository/<name>/`, where the connector port serves nothing (400):
  https://github.com/sonatype/nexus-public/issues/1011.
- An index whose children are not there is refused with 400: https://github.com/estesp/manifest-tool/issues/190.
- Manifests are found only under their media type: https://github.com/andrey-pohilko/registry-cli/issues/43.
- What came of an upload before a cut is gone, and a session does not tell of it.
- Where its deployment policy forbids to redeploy, a tag that is there answers 400 BLOB_UPLOAD_INVALID, with the reason
  in the detail: https://github.com/GoogleContainerTools/jib/issues/3057.
- No referrers API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.doubles.rules import no_status
from image_syncer.embedded.refusal import Refusal
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["NEXUS"]

_HOSTED = "/repository/docker-hosted"


def _lead_astray(call: Call, response: web.Response) -> None:
    if "Link" in response.headers:
        response.headers["Link"] = response.headers["Link"].replace("<", f"<{call.own_url}{_HOSTED}", 1)


def _say_immutable(_call: Call, _refusal: Refusal) -> Refusal:
    detail = "Repository does not allow updating assets: docker-hosted"
    return Refusal(400, "BLOB_UPLOAD_INVALID", "blob upload invalid", detail=detail)


async def _answer(call: Call) -> web.StreamResponse:
    call.meet("broken link followed")
    raise Refusal(400, "UNSUPPORTED", "Not a docker request")


NEXUS = Double(
    "nexus",
    "Sonatype Nexus Repository",
    Behaviour(
        double="nexus",
        users={"admin": PASSWORD},
        basic_realm="Sonatype Nexus Repository Manager",
        null_tag_list=True,
        strict_accept=True,
        referrers=False,
        keep_partial=False,
    ),
    before={Operation.GET_UPLOAD: (no_status,)},
    after={Operation.LIST_TAGS: (_lead_astray,)},
    phrases={"tag immutable": _say_immutable},
    headers={"Server": "Nexus/3.76.0-03 (OSS)"},
    owned=(("GET", _HOSTED),),
    answer=_answer,
)
