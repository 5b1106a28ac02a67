"""JFrog Artifactory 7.

- An Accept that has no room for JSON is answered with 406 on everything but manifests:
  https://github.com/dotnet/sdk-container-builds/issues/382, https://github.com/renovatebot/renovate/issues/3078.
- A list of tags names digests too: https://github.com/open-component-model/ocm/pull/278.
- `last` is a number, of the tags that were there before: https://github.com/renovatebot/renovate/issues/15080.
- A token of `/v2/token`, or a password: https://jfrog.com/help/r/jfrog-artifactory-documentation/docker-registry.
- Who may not overwrite a tag is told that its manifest is invalid, "HTTP 403 Forbidden":
  https://github.com/GoogleContainerTools/kaniko/issues/1095.
- Versions before 7 wanted a blob in pieces (set `single_put` off): https://github.com/containerd/containerd/issues/3533.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.embedded.behaviour import Behaviour, PageMarker, TokenService
from image_syncer.embedded.doubles.double import PASSWORD, Double, change_json
from image_syncer.embedded.refusal import Refusal
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["ARTIFACTORY"]


def _refuse_other_types(call: Call) -> None:
    accepted = ",".join(call.request.headers.getall("Accept", []))
    if accepted and not any(text in accepted for text in ("*/*", "application/*", "application/json")):
        raise Refusal(406, "NOT_ACCEPTABLE", "Not Acceptable", quirk="accept refused")


def _name_digests(call: Call, response: web.Response) -> None:
    def change(data: dict[str, Any]) -> None:
        tags = data["tags"] or []
        digests = {call.storage.tag(call.repository, tag) for tag in tags} - {None}
        data["tags"] = [*tags, *sorted(map(str, digests))]

    change_json(response, change)


def _say_immutable(_call: Call, _refusal: Refusal) -> Refusal:
    return Refusal(403, "MANIFEST_INVALID", "manifest invalid", detail={"description": "HTTP 403 Forbidden"})


ARTIFACTORY = Double(
    "artifactory",
    "JFrog Artifactory",
    Behaviour(
        double="artifactory",
        users={"admin": PASSWORD},
        bearer=TokenService(expires_in_s=3600, service="artifactory.example.com", path="/v2/token"),
        basic_beside_bearer=True,
        basic_realm="Artifactory Realm",
        page_marker=PageMarker.NUMBER,
    ),
    before={
        Operation.PING: (_refuse_other_types,),
        Operation.LIST_TAGS: (_refuse_other_types,),
        Operation.GET_TOKEN: (_refuse_other_types,),
    },
    after={Operation.LIST_TAGS: (_name_digests,)},
    phrases={"tag immutable": _say_immutable},
    headers={"X-JFrog-Version": "Artifactory/7.90.10 79010900", "X-Artifactory-Id": "0123456789abcdef"},
)
