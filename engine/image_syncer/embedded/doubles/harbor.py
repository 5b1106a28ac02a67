"""Harbor 2.

- A repository belongs to a project, which must exist before a push:
  https://goharbor.io/docs/2.12.0/working-with-projects/create-projects/. Its own API creates one (`POST
  /api/v2.0/projects`) and looks for one (`HEAD /api/v2.0/projects?project_name=…`):
  https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml. For a missing project, a system administrator gets
  404 NOT_FOUND, other users 401 UNAUTHORIZED ("unauthorized to access repository: …"):
  https://github.com/goharbor/harbor/issues/18096.
- Tokens last 30 minutes; they come from `/service/token`, and a password is accepted instead:
  https://github.com/goharbor/harbor/issues/18860.
- A robot account of a project (`robot$<project>+<name>`) has rights in that project only:
  https://goharbor.io/docs/2.12.0/working-with-projects/project-configuration/create-robot-accounts/.
- A mount needs pull access to the project of its source: 401 without it, or without such a project:
  https://github.com/goharbor/harbor/issues/17097.
- A GET of a manifest counts as a pull, a HEAD does not.
- `/v2/_catalog` is for system administrators (https://github.com/goharbor/harbor/issues/22118); `GET
  /api/v2.0/projects/<project>/repositories` lists the repositories of a project, also to a system robot
  (https://github.com/goharbor/harbor/issues/14512), at most 100 per page, with `Link` and `X-Total-Count`:
  src/server/v2.0/handler/repository.go.
- Immutable tags answer 412 PRECONDITION: src/pkg/immutable and src/server/middleware/immutable of the same repository.
- An exhausted quota answers 403 DENIED, "… will exceed the configured upper limit of …":
  https://github.com/goharbor/harbor/issues/11508, src/pkg/quota/errors.go.
- An ingress answers too long bodies with 413 and a page of nginx; set `max_content_length` for it:
  https://goharbor.io/docs/2.12.0/install-config/troubleshoot-installation/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from image_syncer.embedded.behaviour import Behaviour, TokenService
from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.call import Refusal
from image_syncer.embedded.doubles.double import PASSWORD, Double, cut_page, json_answer, say
from image_syncer.embedded.route import ExtraOperation
from image_syncer.embedded.tokens import check_basic
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call


_ADMINISTRATOR = "admin"
_ROBOT = "robot$sync"
_PROJECT_ROBOT = "robot$library+sync"
_PROJECTS = "/api/v2.0/projects"
_REPOSITORIES = "/repositories"
_MOST_LISTED = 100
_BODY_LIMIT_BYTES = 64 * 1024
_NGINX_413 = (
    "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n"
    "<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
"""The answer of nginx to a body longer than its client_max_body_size."""


def _projects(call: Call) -> dict[str, int]:
    """Return the projects and their numbers: the created ones, and those with content."""
    found: dict[str, int] = call.memory.setdefault("projects", {"library": 1})
    for repository in call.storage.repositories():
        found.setdefault(repository.partition("/")[0], len(found) + 1)
    return found


def _may_not_see(call: Call, project: str) -> bool:
    """Whether the user is a robot of another project."""
    robot, plus, _ = (call.user or "").removeprefix("robot$").partition("+")
    return bool(plus) and robot != project


def _unauthorized(repository: str, action: str, quirk: str) -> Refusal:
    message = f"unauthorized to access repository: {repository}, action: {action}"
    return Refusal(401, "UNAUTHORIZED", f"{message}: {message}", quirk=quirk)


def _need_project(call: Call) -> None:
    if call.behaviour.implicit_projects:
        return
    project, slash, _ = call.repository.partition("/")
    if not slash:
        raise Refusal(400, "BAD_REQUEST", f"invalid repository name: {call.repository}", quirk="project missing")
    action = "pull" if call.request.method in ("GET", "HEAD") else "push"
    if _may_not_see(call, project):
        raise _unauthorized(call.repository, action, "project of others")
    if project in _projects(call):
        return
    if call.user == _ADMINISTRATOR or not call.behaviour.users:
        raise Refusal(404, "NOT_FOUND", f"project {project} not found", quirk="project missing")
    raise _unauthorized(call.repository, action, "project missing")


def _need_right_to_source(call: Call) -> None:
    source = call.request.query.get("from", "")
    if "mount" not in call.request.query or not source:
        return
    project, slash, _ = source.partition("/")
    if slash and project in _projects(call) and not _may_not_see(call, project):
        return
    raise _unauthorized(source, "pull", "mount refused")


def _need_administrator(call: Call) -> None:
    if call.behaviour.users and call.user != _ADMINISTRATOR:
        raise Refusal(401, "UNAUTHORIZED", "unauthorized to list catalog", quirk="catalog closed")


def _list(call: Call, user: str | None, project: str) -> web.Response:
    call.user = user
    if _may_not_see(call, project):
        raise Refusal(403, "FORBIDDEN", "forbidden")
    if project not in _projects(call):
        raise Refusal(404, "NOT_FOUND", f"project {project} not found")
    names = [name for name in call.storage.repositories() if name.startswith(f"{project}/")]
    page, following, size = cut_page(call, names, _MOST_LISTED)
    answer = json_answer([{"name": name, "artifact_count": 1} for name in page])
    answer.headers["X-Total-Count"] = str(len(names))
    if following is not None:
        target = f"{call.request.path}?page={following}&page_size={size}"
        answer.headers["Link"] = f'<{target}>; rel="next"'
    return answer


async def _answer(call: Call) -> web.StreamResponse:
    user = check_basic(call.request.headers.get("Authorization", ""), call.behaviour.users)
    if call.behaviour.users and user is None:
        raise Refusal(401, "UNAUTHORIZED", "unauthorized")
    method, path, projects = call.request.method, call.request.path.rstrip("/"), _projects(call)
    if method == "GET" and path.endswith(_REPOSITORIES):
        return _list(call, user, path[len(_PROJECTS) + 1 : -len(_REPOSITORIES)])
    if method == "POST" and path == _PROJECTS:
        return await _create(call, user)
    name = call.request.query.get("project_name", "") if path == _PROJECTS else path[len(_PROJECTS) + 1 :]
    if name not in projects:
        raise Refusal(404, "NOT_FOUND", f"project {name} not found")
    if method == "HEAD":
        return web.Response(status=200)
    found = {"name": name, "project_id": projects[name]}
    return json_answer([found] if path == _PROJECTS else found)


async def _create(call: Call, user: str | None) -> web.StreamResponse:
    if call.behaviour.users and user != _ADMINISTRATOR:
        raise Refusal(403, "FORBIDDEN", "Only system admin can create project")
    projects = _projects(call)
    try:
        name = str(orjson.loads(await read_small_body(call, _BODY_LIMIT_BYTES))["project_name"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(400, "BAD_REQUEST", "project_name in body is required") from None
    if name in projects:
        raise Refusal(409, "CONFLICT", f"The project named {name} already exists")
    projects[name] = len(projects) + 1
    return web.Response(status=201, headers={"Location": f"{_PROJECTS}/{projects[name]}"})


def _say_immutable(call: Call, _refusal: Refusal) -> Refusal:
    _, _, repository = call.repository.partition("/")
    message = f"Failed to process request due to '{repository}:{call.route.reference}' configured as immutable."
    return Refusal(412, "PRECONDITION", message)


def _say_quota(call: Call, _refusal: Refusal) -> Refusal:
    used, limit = (f"{size / 2**20:.1f} MiB" for size in (call.storage.used_bytes, call.behaviour.capacity_bytes or 0))
    added = f"{(call.request.content_length or 0) / 2**20:.1f} MiB"
    message = f"adding {added} of storage resource, which when updated to current usage of {used}"
    return Refusal(403, "DENIED", f"{message} will exceed the configured upper limit of {limit}.")


def _count_pull(call: Call, _response: web.Response) -> None:
    call.meet("pull counted")


HARBOR = Double(
    "harbor",
    "Harbor 2",
    Behaviour(
        double="harbor",
        users={_ADMINISTRATOR: PASSWORD, _ROBOT: PASSWORD, _PROJECT_ROBOT: PASSWORD},
        bearer=TokenService(expires_in_s=1800, service="harbor-registry", path="/service/token"),
        basic_beside_bearer=True,
        basic_realm="harbor",
        implicit_projects=False,
    ),
    before={
        **dict.fromkeys(
            (
                Operation.HEAD_MANIFEST,
                Operation.GET_MANIFEST,
                Operation.PUT_MANIFEST,
                Operation.HEAD_BLOB,
                Operation.GET_BLOB,
                Operation.LIST_TAGS,
                ExtraOperation.LIST_REFERRERS,
            ),
            (_need_project,),
        ),
        Operation.START_UPLOAD: (_need_project, _need_right_to_source),
        Operation.LIST_CATALOG: (_need_administrator,),
    },
    after={Operation.GET_MANIFEST: (_count_pull,)},
    phrases={
        "tag immutable": _say_immutable,
        "no space left": _say_quota,
        "body too long": say(413, "UNKNOWN", "the body is too long", page=_NGINX_413),
    },
    owned=(("POST", _PROJECTS), ("HEAD", _PROJECTS), ("GET", _PROJECTS)),
    answer=_answer,
)
