"""Docker Hub.

- Tokens come from another host and last 300 seconds: https://distribution.github.io/distribution/spec/auth/token/,
  https://github.com/GoogleContainerTools/jib/issues/691.
- A GET of a manifest is a pull and counts, a HEAD does not; both tell `ratelimit-limit` and `ratelimit-remaining`
  ("100;w=21600"): https://docs.docker.com/docker-hub/usage/pulls/. Past the limit the answer is a 429 whose body need
  not be JSON, without Retry-After.
- A mount needs a token that may pull from the repository which it names, be it public:
  https://github.com/oras-project/rust-oci-client/issues/235. One that names another registry's repository, or none, is
  refused: https://github.com/google/go-containerregistry/pull/218.
- There is no repository without a namespace: `docker.io/alpine` is `library/alpine` there.
- Blobs are served from another host, at signed addresses.
- There is no `/v2/_catalog`. The public repositories of a namespace are listed at another host, hub.docker.com, to
  anybody, at most 1000 a page: https://docs.docker.com/reference/api/hub/latest/, `listNamespaceRepositories`.
- Tags that were made immutable answer 403: https://docs.docker.com/docker-hub/repos/manage/hub-images/immutable-tags/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour, TokenService
from image_syncer.embedded.doubles.double import PASSWORD, Double, json_answer
from image_syncer.embedded.doubles.rules import cut_page, names_below, refuse_catalog, refuse_mount_without_from
from image_syncer.embedded.refusal import Refusal
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["HUB"]

_PULL_LIMIT = 200  # of a user with a free account, in _WINDOW_S
_WINDOW_S = 21_600
_NAMESPACES, _REPOSITORIES = "/v2/namespaces/", "/repositories"
_MOST_LISTED = 1000
_TOO_MANY = (
    "Too Many Requests. You have reached your pull rate limit. You may increase the limit by authenticating and "
    "upgrading: https://www.docker.com/increase-rate-limit"
)


def _rate_headers(call: Call) -> dict[str, str]:
    limit = call.behaviour.pull_limit or 0
    left = max(0, limit - call.memory.get("pulls", 0))
    return {"ratelimit-limit": f"{limit};w={_WINDOW_S}", "ratelimit-remaining": f"{left};w={_WINDOW_S}"}


def _count(call: Call) -> None:
    limit = call.behaviour.pull_limit
    pulls = call.memory.setdefault("pulls", 0)
    if limit is not None and pulls >= limit:
        headers = _rate_headers(call)
        raise Refusal(429, "TOOMANYREQUESTS", "pull limit", quirk="pull limit reached", page=_TOO_MANY, headers=headers)
    call.memory["pulls"] = pulls + 1


def _tell_limit(call: Call, response: web.Response) -> None:
    if call.behaviour.pull_limit is not None:
        response.headers.update(_rate_headers(call))


def _need_namespace(call: Call) -> None:
    if "/" not in call.repository:
        raise Refusal(401, "UNAUTHORIZED", "authentication required", quirk="namespace missing")


def _refuse_foreign_mount(call: Call) -> None:
    host, slash, _ = call.request.query.get("from", "").partition("/")
    if "mount" in call.request.query and slash and ("." in host or ":" in host):
        raise Refusal(400, "NAME_INVALID", "invalid repository name", quirk="mount refused")


async def _answer(call: Call) -> web.StreamResponse:
    names = names_below(call, _NAMESPACES, _REPOSITORIES, "object not found")
    path, namespace = call.request.path, names[0].partition("/")[0]
    page, following, size = cut_page(call, names, _MOST_LISTED)
    return json_answer(
        {
            "count": len(names),
            "next": None if following is None else f"{call.own_url}{path}?page={following}&page_size={size}",
            "previous": None,
            "results": [{"name": name.partition("/")[2], "namespace": namespace} for name in page],
        }
    )


def _say_immutable(call: Call, _refusal: Refusal) -> Refusal:
    return Refusal(403, "DENIED", f"tag {call.route.reference} is immutable and cannot be overwritten")


HUB = Double(
    "hub",
    "Docker Hub",
    Behaviour(
        double="hub",
        users={"dockeruser": PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(expires_in_s=300, on_companion=True, service="registry.docker.io"),
        redirect_blobs=True,
        pull_limit=_PULL_LIMIT,
    ),
    before={
        Operation.HEAD_MANIFEST: (_need_namespace,),
        Operation.GET_MANIFEST: (_need_namespace, _count),
        Operation.LIST_TAGS: (_need_namespace,),
        Operation.LIST_CATALOG: (refuse_catalog,),
        Operation.START_UPLOAD: (_need_namespace, refuse_mount_without_from, _refuse_foreign_mount),
    },
    after={Operation.HEAD_MANIFEST: (_tell_limit,), Operation.GET_MANIFEST: (_tell_limit,)},
    phrases={"tag immutable": _say_immutable},
    owned=(("GET", _NAMESPACES),),
    answer=_answer,
)
