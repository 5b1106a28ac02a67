"""GitLab's container registry.

- Tokens come from GitLab itself, another host, at `/jwt/auth`, and last five minutes:
  https://github.com/moby/moby/issues/33558.
- A repository lies below a project (`group/project/…`), at most two names deep:
  https://docs.gitlab.com/user/packages/container_registry/#naming-convention-for-your-container-images. Where there is
  no such project, access is denied, as it is where one may not see it.
- A mount needs a token that may pull from the repository which it names: https://github.com/estesp/manifest-tool/issues/53.
- The repositories of a group, and of the groups in it, are listed by GitLab, at most 100 a page, for an access token of
  somebody who may see it: https://docs.gitlab.com/api/container_registry/#within-a-group. `/v2/_catalog` is for
  administrators: app/services/auth/container_registry_authentication_service.rb.
- No referrers API; deletes go over GitLab's own API: https://docs.gitlab.com/api/container_registry/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour, TokenService
from image_syncer.embedded.doubles.double import PASSWORD, Double, json_answer
from image_syncer.embedded.doubles.rules import names_below, refuse_catalog
from image_syncer.embedded.refusal import Refusal
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["GITLAB"]

_PROJECT_PARTS = 2
_MAX_PARTS_BELOW = 2
_GROUPS, _REPOSITORIES = "/api/v4/groups/", "/registry/repositories"
_MOST_LISTED = 100


def _need_project(call: Call) -> None:
    if call.behaviour.implicit_projects:
        return
    parts = call.repository.split("/")
    names = call.storage.repositories()
    for count in range(_PROJECT_PARTS, len(parts) + 1):  # groups may lie in groups: any beginning may be the project
        project = "/".join(parts[:count])
        known = any(name == project or name.startswith(project + "/") for name in names)
        if known and len(parts) - count <= _MAX_PARTS_BELOW:
            return
    raise Refusal(403, "DENIED", "requested access to the resource is denied", quirk="project missing")


async def _answer(call: Call) -> web.StreamResponse:
    token = call.request.headers.get("Authorization", "").removeprefix("Bearer ")
    if call.on_companion and token not in call.behaviour.users.values():
        raise Refusal(401, "UNAUTHORIZED", "401 Unauthorized")
    names = names_below(call, _GROUPS, _REPOSITORIES, "404 Group Not Found")
    page, size = int(call.request.query.get("page", "1")), int(call.request.query.get("per_page", "20"))
    size = min(size, _MOST_LISTED, call.behaviour.max_page_size)
    answer = json_answer([{"path": name} for name in names[(page - 1) * size : page * size]])
    if page * size < len(names):
        answer.headers["Link"] = f'<{call.own_url}{call.request.path}?page={page + 1}&per_page={size}>; rel="next"'
    return answer


GITLAB = Double(
    "gitlab",
    "GitLab",
    Behaviour(
        double="gitlab",
        users={"deploy-token": PASSWORD},
        bearer=TokenService(expires_in_s=300, on_companion=True, service="container_registry", path="/jwt/auth"),
        redirect_blobs=True,
        referrers=False,
        implicit_projects=False,
    ),
    before={
        Operation.START_UPLOAD: (_need_project,),
        Operation.PUT_MANIFEST: (_need_project,),
        Operation.LIST_CATALOG: (refuse_catalog,),
    },
    owned=(("GET", _GROUPS),),
    answer=_answer,
    headers={"Gitlab-Container-Registry-Version": "v4.14.0-gitlab"},
)
