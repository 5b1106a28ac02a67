"""The doubles that are mostly data: their switches, rules and sources. `DOUBLES` lists all doubles by name."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from image_syncer.embedded.behaviour import (
    Behaviour,
    LocationForm,
    PageMarker,
    RateLimit,
    RetryAfter,
    TokenService,
    decode_behaviour,
)
from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.call import Refusal, parse_digest
from image_syncer.embedded.doubles.double import (
    PASSWORD,
    Double,
    change_json,
    cut_page,
    ignore_post_body,
    json_answer,
    mount_within_owner,
    names_below,
    no_catalog,
    no_mount_without_from,
    no_status,
    read_numbers,
    refuse,
    refuse_long_body,
    say,
)
from image_syncer.embedded.doubles.ecr import ECR, ECR_PUBLIC
from image_syncer.embedded.doubles.harbor import HARBOR
from image_syncer.embedded.route import ExtraOperation
from image_syncer.registry import Operation
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from image_syncer.embedded.call import Call


_DENIED = "requested access to the resource is denied"

# Google Artifact Registry
# - "Artifact Registry does not support Docker chunked uploads": it refuses PATCH, and a cut PUT leaves nothing:
#   https://cloud.google.com/artifact-registry/docs/reference/docker-api,
#   https://github.com/dotnet/sdk-container-builds/pull/287.
# - Upload sessions have their own path, `/artifacts-uploads/…`, and an absolute Location.
# - A tag list has the extension `manifest`, a map by digest (and `child`), as
#   https://github.com/google/go-containerregistry/tree/main/pkg/v1/google reads it.
# - Tokens come from `/v2/token`: https://github.com/oras-project/oras/issues/157. The users `_json_key` and
#   `oauth2accesstoken` may send their password instead.


def _add_manifests(call: Call, response: web.Response) -> None:
    manifests: dict[str, dict[str, Any]] = {}

    def change(data: dict[str, Any]) -> None:
        for tag in data["tags"] or ():
            digest = call.storage.tag(call.repository, tag)
            stored = None if digest is None else call.storage.manifest(call.repository, digest)
            if digest is None or stored is None:
                continue
            known = {"imageSizeBytes": str(stored.size), "mediaType": stored.media_type, "timeUploadedMs": "0"}
            manifests.setdefault(str(digest), {**known, "layerId": "", "tag": []})["tag"].append(tag)
        data["manifest"] = manifests
        data["child"] = []

    change_json(response, change)


GAR = Double(
    "gar",
    "Google Artifact Registry",
    Behaviour(
        double="gar",
        users={"oauth2accesstoken": PASSWORD, "_json_key": PASSWORD},
        bearer=TokenService(expires_in_s=3600, service="us-docker.pkg.dev", path="/v2/token"),
        basic_beside_bearer=True,
        basic_realm="us-docker.pkg.dev",
        chunked_uploads=False,
        keep_partial=False,
        upload_prefix="/artifacts-uploads",
        location_form=LocationForm.ABSOLUTE,
    ),
    after={Operation.LIST_TAGS: (_add_manifests,)},
)

# Docker Hub
# - Tokens come from another host and last 300 seconds: https://distribution.github.io/distribution/spec/auth/token/,
#   https://github.com/GoogleContainerTools/jib/issues/691.
# - A GET of a manifest counts as a pull, a HEAD does not; both answer with `ratelimit-limit` and `ratelimit-remaining`
#   ("100;w=21600"): https://docs.docker.com/docker-hub/usage/pulls/. Past the limit the answer is a 429 without
#   Retry-After, whose body need not be JSON.
# - A mount needs a token with pull access to its source, even to a public one:
#   https://github.com/oras-project/rust-oci-client/issues/235. A source of another registry, or none, is refused:
#   https://github.com/google/go-containerregistry/pull/218.
# - Every repository has a namespace: `docker.io/alpine` is `library/alpine` there.
# - Blobs come from another host, at signed addresses.
# - There is no `/v2/_catalog`. Another host, hub.docker.com, lists the public repositories of a namespace to everyone,
#   at most 1000 per page: https://docs.docker.com/reference/api/hub/latest/, `listNamespaceRepositories`.
# - Immutable tags answer 403: https://docs.docker.com/docker-hub/repos/manage/hub-images/immutable-tags/.

_HUB_PULL_LIMIT = 200  # of a user with a free account, in _HUB_WINDOW_S
_HUB_WINDOW_S = 21_600
_HUB_NAMESPACES = "/v2/namespaces/"
_HUB_MOST_LISTED = 1000
_HUB_TOO_MANY = (
    "Too Many Requests. You have reached your pull rate limit. You may increase the limit by authenticating and "
    "upgrading: https://www.docker.com/increase-rate-limit"
)


def _rate_headers(call: Call) -> dict[str, str]:
    limit = call.behaviour.pull_limit or 0
    left = max(0, limit - call.memory.get("pulls", 0))
    return {"ratelimit-limit": f"{limit};w={_HUB_WINDOW_S}", "ratelimit-remaining": f"{left};w={_HUB_WINDOW_S}"}


def _count_pull(call: Call) -> None:
    limit = call.behaviour.pull_limit
    pulls = call.memory.setdefault("pulls", 0)
    if limit is not None and pulls >= limit:
        raise Refusal(
            429,
            "TOOMANYREQUESTS",
            "pull limit",
            quirk="pull limit reached",
            page=_HUB_TOO_MANY,
            headers=_rate_headers(call).items(),
        )
    call.memory["pulls"] = pulls + 1


def _add_limit(call: Call, response: web.Response) -> None:
    if call.behaviour.pull_limit is not None:
        response.headers.update(_rate_headers(call))


_need_hub_namespace = refuse(
    401, "UNAUTHORIZED", "authentication required", "namespace missing", when=lambda call: "/" not in call.repository
)


def _mounts_from_other_host(call: Call) -> bool:
    host, slash, _ = call.request.query.get("from", "").partition("/")
    return "mount" in call.request.query and bool(slash) and ("." in host or ":" in host)


async def _list_hub_namespace(call: Call) -> web.StreamResponse:
    names = names_below(call, _HUB_NAMESPACES, "/repositories", "object not found")
    path, namespace = call.request.path, names[0].partition("/")[0]
    page, following, size = cut_page(call, names, _HUB_MOST_LISTED)
    return json_answer(
        {
            "count": len(names),
            "next": None if following is None else f"{call.own_url}{path}?page={following}&page_size={size}",
            "previous": None,
            "results": [{"name": name.partition("/")[2], "namespace": namespace} for name in page],
        }
    )


HUB = Double(
    "hub",
    "Docker Hub",
    Behaviour(
        double="hub",
        users={"dockeruser": PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(expires_in_s=300, on_companion=True, service="registry.docker.io"),
        redirect_blobs=True,
        pull_limit=_HUB_PULL_LIMIT,
    ),
    before={
        Operation.HEAD_MANIFEST: (_need_hub_namespace,),
        Operation.GET_MANIFEST: (_need_hub_namespace, _count_pull),
        Operation.LIST_TAGS: (_need_hub_namespace,),
        Operation.LIST_CATALOG: (no_catalog,),
        Operation.START_UPLOAD: (
            _need_hub_namespace,
            no_mount_without_from,
            refuse(400, "NAME_INVALID", "invalid repository name", "mount refused", when=_mounts_from_other_host),
        ),
    },
    after={Operation.HEAD_MANIFEST: (_add_limit,), Operation.GET_MANIFEST: (_add_limit,)},
    phrases={"tag immutable": say(403, "DENIED", "tag {reference} is immutable and cannot be overwritten")},
    owned=(("GET", _HUB_NAMESPACES),),
    answer=_list_hub_namespace,
)

# Alibaba Cloud Container Registry
# - Tokens come from another host, at `/auth`.
# - A namespace must exist before a push, else "requested access to the resource is denied":
#   https://github.com/imdingtalk/image-mirror/issues/1408.
# - A HEAD of a blob needs push access: it answers "denied" where the GET works:
#   https://github.com/AliyunContainerService/image-syncer/issues/149.
# - Tags of private repositories are listed only after a login, with any rights.


def _lacks_namespace(call: Call) -> bool:
    namespace, slash, _ = call.repository.partition("/")
    exists = slash and any(name.startswith(f"{namespace}/") for name in call.storage.repositories())
    return not (call.behaviour.implicit_projects or exists)


_need_namespace = refuse(403, "DENIED", _DENIED, "namespace missing", when=_lacks_namespace)

ACR_ALIYUN = Double(
    "acr-aliyun",
    "Alibaba Cloud Container Registry",
    Behaviour(
        double="acr-aliyun",
        users={"syncer@1234567890": PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(
            expires_in_s=300, on_companion=True, service="registry.aliyuncs.com:cn-hangzhou:26842", path="/auth"
        ),
        redirect_blobs=True,
        referrers=False,
        implicit_projects=False,
    ),
    before={
        Operation.HEAD_BLOB: (
            refuse(
                403,
                "DENIED",
                _DENIED,
                "head of a blob denied",
                when=lambda call: call.behaviour.users and "push" not in call.granted,
            ),
        ),
        Operation.LIST_TAGS: (
            refuse(
                401,
                "UNAUTHORIZED",
                "authentication required",
                "list of tags denied",
                when=lambda call: call.behaviour.users and call.user is None,
            ),
        ),
        Operation.START_UPLOAD: (_need_namespace,),
        Operation.PUT_MANIFEST: (_need_namespace,),
    },
)

# Azure Container Registry
# - A token of Microsoft Entra ID is exchanged for a refresh token at `/oauth2/exchange`, and that for an access token
#   at `/oauth2/token`, which also takes a name and a password. The answer has `access_token`, but neither `token` nor
#   its lifetime: https://learn.microsoft.com/en-us/rest/api/containerregistry/access-tokens/get,
#   https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md.
# - A tag list needs the action `metadata_read`, not `pull`: https://github.com/Azure/acr/issues/423,
#   https://github.com/Azure/acr/issues/676.
# - A body of more than about 20 MB is answered with 413 and a page, "413 Request Entity Too Large -
#   AzureContainerRegistry"; pieces of 4 MB are accepted: https://github.com/goharbor/harbor/issues/23015.
# - A broken session cannot be resumed: "service not supporting retries on upload blob for now",
#   https://github.com/Azure/azure-sdk-for-python/pull/30388.

_AZURE_ADMINISTRATOR = "acradmin"
_AZURE_FORM_LIMIT_BYTES = 64 * 1024
_refuse_azure_body = refuse_long_body(
    20_000_000, "<html><body><h1>413 Request Entity Too Large - AzureContainerRegistry</h1></body></html>"
)


async def _exchange_azure_token(call: Call) -> web.StreamResponse:
    form = parse_qs((await read_small_body(call, _AZURE_FORM_LIMIT_BYTES)).decode("utf-8", "replace"))
    if form.get("grant_type") != ["access_token"] or not form.get("service"):
        raise Refusal(400, "BAD_REQUEST", "grant_type must be access_token, and service must be given")
    if form.get("access_token") != [PASSWORD]:
        raise Refusal(401, "UNAUTHORIZED", "retrieving permissions failed")
    refresh_token = secrets.token_urlsafe(32)
    call.memory.setdefault("refresh tokens", {})[refresh_token] = _AZURE_ADMINISTRATOR
    return json_answer({"refresh_token": refresh_token})


ACR_AZURE = Double(
    "acr-azure",
    "Azure Container Registry",
    Behaviour(
        double="acr-azure",
        users={_AZURE_ADMINISTRATOR: PASSWORD},
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
        Operation.PUT_UPLOAD: (_refuse_azure_body,),
        ExtraOperation.PATCH_UPLOAD: (_refuse_azure_body,),
        Operation.GET_UPLOAD: (no_status,),
    },
    owned=(("POST", "/oauth2/exchange"),),
    answer=_exchange_azure_token,
)

# GitHub's container registry
# - A body with Content-Range has at most 4 MiB, else 416 REQUESTED_RANGE_NOT_SATISFIABLE, "the request body is too
#   large and exceeds the maximum permissible limit of 4.00MiB": https://github.com/wasmCloud/wash-archive/issues/268,
#   https://github.com/ocx-sh/ocx/pull/237. A PUT of the whole blob has no such limit.
# - Blobs are mounted only between repositories of one owner; other mounts open a session.
# - No referrers API, and no DELETE over the distribution API:
#   https://docs.github.com/en/packages/learn-github-packages/deleting-and-restoring-a-package.
# - Blobs come from another host, at signed addresses.

_GHCR_PIECE_LIMIT_BYTES = 4 * 2**20
_refuse_ghcr_piece = refuse(
    416,
    "REQUESTED_RANGE_NOT_SATISFIABLE",
    "the request body is too large and exceeds the maximum permissible limit of 4.00MiB",
    "piece too long",
    when=lambda call: (
        "Content-Range" in call.request.headers and (call.request.content_length or 0) > _GHCR_PIECE_LIMIT_BYTES
    ),
)

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
        Operation.START_UPLOAD: (mount_within_owner,),
        Operation.PUT_UPLOAD: (_refuse_ghcr_piece,),
        ExtraOperation.PATCH_UPLOAD: (_refuse_ghcr_piece,),
    },
    headers={"X-GitHub-Request-Id": "0000:0000:000000:000000:00000000"},
)

# Quay
# - A mount without `from` is refused with 400 (versions before https://github.com/quay/quay/pull/899):
#   https://github.com/GoogleContainerTools/jib/issues/703.
# - The referrers of a missing manifest are answered with 400: https://github.com/quay/quay/pull/3071.
# - Fifty tags per page, whatever `n` says; the Link continues with an opaque `next_page`, and `last` is ignored:
#   https://github.com/regclient/regclient/issues/272, https://github.com/deitch/docker_registry2/issues/56.
# - Tokens come from `/v2/auth`.
# - More than some requests per second over a while get 429, without Retry-After: https://docs.quay.io/issues/429.html.
# - An exhausted quota answers 403 DENIED, "Quota has been exceeded on namespace":
#   https://docs.redhat.com/en/documentation/red_hat_quay/3/html/use_red_hat_quay/red-hat-quay-quota-management-and-enforcement.
# - Blobs come from another host, at signed addresses.

_QUAY_PAGE = 50


def _lacks_subject(call: Call) -> bool:
    return call.storage.manifest(call.repository, parse_digest(call.route.reference)) is None


QUAY = Double(
    "quay",
    "Quay",
    Behaviour(
        double="quay",
        users={"team+robot": PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(expires_in_s=3600, service="quay.io", path="/v2/auth"),
        redirect_blobs=True,
        default_page_size=_QUAY_PAGE,
        max_page_size=_QUAY_PAGE,
        page_marker=PageMarker.OPAQUE,
        rate_limits=(RateLimit(burst=300, per_s=50.0, retry_after=RetryAfter.NONE),),
    ),
    before={
        Operation.START_UPLOAD: (no_mount_without_from,),
        ExtraOperation.LIST_REFERRERS: (
            refuse(400, "MANIFEST_INVALID", "manifest invalid", "no referrers", when=_lacks_subject),
        ),
    },
    phrases={"no space left": say(403, "DENIED", "Quota has been exceeded on namespace")},
)

# GitLab's container registry
# - Tokens come from GitLab itself, another host, at `/jwt/auth`, and last five minutes:
#   https://github.com/moby/moby/issues/33558.
# - A repository belongs to a project (`group/project/…`), at most two names deeper:
#   https://docs.gitlab.com/user/packages/container_registry/#naming-convention-for-your-container-images. Without
#   such a project, or without access to it, access is denied.
# - A mount needs a token with pull access to its source: https://github.com/estesp/manifest-tool/issues/53.
# - GitLab lists the repositories of a group and its subgroups, at most 100 per page, with the access token of a member:
#   https://docs.gitlab.com/api/container_registry/#within-a-group. `/v2/_catalog` is for administrators:
#   app/services/auth/container_registry_authentication_service.rb.
# - No referrers API; GitLab's own API deletes: https://docs.gitlab.com/api/container_registry/.

_GITLAB_PROJECT_PARTS = 2
_GITLAB_MAX_PARTS_BELOW = 2
_GITLAB_GROUPS = "/api/v4/groups/"
_GITLAB_MOST_LISTED = 100


def _lacks_project(call: Call) -> bool:
    parts = call.repository.split("/")
    names = call.storage.repositories()
    for count in range(_GITLAB_PROJECT_PARTS, len(parts) + 1):  # groups contain groups: any prefix may be the project
        project = "/".join(parts[:count])
        exists = any(name == project or name.startswith(project + "/") for name in names)
        if exists and len(parts) - count <= _GITLAB_MAX_PARTS_BELOW:
            return False
    return not call.behaviour.implicit_projects


_need_project = refuse(403, "DENIED", _DENIED, "project missing", when=_lacks_project)


async def _list_gitlab_group(call: Call) -> web.StreamResponse:
    token = call.request.headers.get("Authorization", "").removeprefix("Bearer ")
    if call.on_companion and token not in call.behaviour.users.values():
        raise Refusal(401, "UNAUTHORIZED", "401 Unauthorized")
    names = names_below(call, _GITLAB_GROUPS, "/registry/repositories", "404 Group Not Found")
    page, size = read_numbers(call, page=1, per_page=20)
    if page < 1 or size < 1:
        raise Refusal(400, "BAD_REQUEST", "page and per_page have no value below 1")
    size = min(size, _GITLAB_MOST_LISTED, call.behaviour.max_page_size)
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
        Operation.LIST_CATALOG: (no_catalog,),
    },
    owned=(("GET", _GITLAB_GROUPS),),
    answer=_list_gitlab_group,
    headers={"Gitlab-Container-Registry-Version": "v4.14.0-gitlab"},
)

# Sonatype Nexus Repository 3, a hosted repository on its own connector port
# - Basic.
# - A list without tags is null.
# - The Link of a page leads below `/repository/<name>/`, where the connector port serves nothing (400):
#   https://github.com/sonatype/nexus-public/issues/1011.
# - An index with missing children is refused with 400: https://github.com/estesp/manifest-tool/issues/190.
# - Manifests are found only under their media type: https://github.com/andrey-pohilko/registry-cli/issues/43.
# - A cut upload leaves nothing, and a session does not report its state.
# - A deployment policy without redeploy answers 400 BLOB_UPLOAD_INVALID for an existing tag, with the reason in the
#   detail: https://github.com/GoogleContainerTools/jib/issues/3057.
# - No referrers API.

_NEXUS_HOSTED = "/repository/docker-hosted"


def _break_link(call: Call, response: web.Response) -> None:
    if "Link" in response.headers:
        response.headers["Link"] = response.headers["Link"].replace("<", f"<{call.own_url}{_NEXUS_HOSTED}", 1)


async def _refuse_broken_link(call: Call) -> web.StreamResponse:
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
    after={Operation.LIST_TAGS: (_break_link,)},
    phrases={
        "tag immutable": say(
            400,
            "BLOB_UPLOAD_INVALID",
            "blob upload invalid",
            detail="Repository does not allow updating assets: docker-hosted",
        )
    },
    headers={"Server": "Nexus/3.76.0-03 (OSS)"},
    owned=(("GET", _NEXUS_HOSTED),),
    answer=_refuse_broken_link,
)

# JFrog Artifactory 7
# - An Accept that excludes JSON is answered with 406, except for manifests:
#   https://github.com/dotnet/sdk-container-builds/issues/382, https://github.com/renovatebot/renovate/issues/3078.
# - A tag list contains digests too: https://github.com/open-component-model/ocm/pull/278.
# - `last` is the number of the tags that came before: https://github.com/renovatebot/renovate/issues/15080.
# - A token of `/v2/token`, or a password: https://jfrog.com/help/r/jfrog-artifactory-documentation/docker-registry.
# - Without the right to overwrite a tag, the manifest is called invalid, "HTTP 403 Forbidden":
#   https://github.com/GoogleContainerTools/kaniko/issues/1095.
# - Versions before 7 need a blob in pieces (set `single_put` off): https://github.com/containerd/containerd/issues/3533.


def _excludes_json(call: Call) -> bool:
    accepted = ",".join(call.request.headers.getall("Accept", []))
    return bool(accepted) and not any(text in accepted for text in ("*/*", "application/*", "application/json"))


_need_json = refuse(406, "NOT_ACCEPTABLE", "Not Acceptable", "accept refused", when=_excludes_json)


def _add_digests(call: Call, response: web.Response) -> None:
    def change(data: dict[str, Any]) -> None:
        tags = data["tags"] or []
        digests = {call.storage.tag(call.repository, tag) for tag in tags} - {None}
        data["tags"] = [*tags, *sorted(map(str, digests))]

    change_json(response, change)


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
    before=dict.fromkeys((Operation.PING, Operation.LIST_TAGS, Operation.GET_TOKEN), (_need_json,)),
    after={Operation.LIST_TAGS: (_add_digests,)},
    phrases={
        "tag immutable": say(403, "MANIFEST_INVALID", "manifest invalid", detail={"description": "HTTP 403 Forbidden"})
    },
    headers={"X-JFrog-Version": "Artifactory/7.90.10 79010900", "X-Artifactory-Id": "0123456789abcdef"},
)

# The registry of the CNCF distribution project, 2.8 and 3.0, as its image runs without further settings. Read at
# https://github.com/distribution/distribution (registry/handlers/blobupload.go, tags.go, catalog.go), and tried with
# the package docker-registry of Debian, which is 2.8.
# - A POST ignores body and digest (2.8, 3.0).
# - A tag list ignores `n` and `last` in 2.8; a catalog refuses an `n` over 1,000 (400 PAGINATION_NUMBER_INVALID).
# - Deletes are off (405 UNSUPPORTED), and there is no referrers API.
# - 2.8 ignores Content-Range; 3.0 answers 416 to a chunk out of order
#   (https://github.com/distribution/distribution/pull/3227).
# - An upload whose body was cut is lost, its state is 404 (tried with 2.8); so is an address that is not the newest.
# - Manifests have at most 4 MiB; 3.0 accepts no schema 1, and 2.8 only with a valid signature.
# - 2.8 knows no other Range unit than bytes (416), and deletes manifests by digest only.

_CATALOG_LIMIT = 1000


def _has_old_address(call: Call) -> bool:
    upload = call.storage.upload(call.route.reference)
    return upload is not None and not (call.raw_query + "&").startswith(upload.query + "&")


def _has_other_unit(call: Call) -> bool:
    unit, equals, _ = call.request.headers.get("Range", "").partition("=")
    return bool(equals) and unit.strip() != "bytes"


def _asks_long_catalog(call: Call) -> bool:
    count = call.request.query.get("n", "")
    return count.isdecimal() and int(count) > _CATALOG_LIMIT


def _count_status(call: Call, refusal: Refusal) -> Refusal:
    if call.route.kind is Operation.GET_UPLOAD:
        call.meet("session status refused")
    return refusal


_need_newest_address = refuse(404, "BLOB_UPLOAD_INVALID", "blob upload invalid", "old address", when=_has_old_address)
_refuse_long_catalog = refuse(
    400,
    "PAGINATION_NUMBER_INVALID",
    "invalid number of results requested",
    "page too large",
    when=_asks_long_catalog,
)

REGISTRY3 = Double(
    "registry3",
    "distribution 3.0",
    Behaviour(
        double="registry3",
        single_post=False,
        referrers=False,
        deletes=False,
        keep_partial=False,
        strict_state=False,
        accepts_schema1=False,
        max_page_size=10**6,
    ),
    before={
        Operation.LIST_CATALOG: (_refuse_long_catalog,),
        Operation.START_UPLOAD: (ignore_post_body,),
        Operation.PUT_UPLOAD: (_need_newest_address,),
        ExtraOperation.PATCH_UPLOAD: (_need_newest_address,),
    },
    phrases={"session lost": _count_status},
)

REGISTRY2 = replace(
    REGISTRY3,
    name="registry2",
    title="distribution 2.8",
    behaviour=replace(REGISTRY3.behaviour, double="registry2", content_range=False, tag_pages=False),
    before={
        **REGISTRY3.before,
        Operation.GET_BLOB: (
            refuse(416, "RANGE_INVALID", "invalid content range", "unit of a range refused", when=_has_other_unit),
        ),
        ExtraOperation.DELETE_MANIFEST: (
            refuse(
                400,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
                "delete refused",
                when=lambda call: ":" not in call.route.reference,
            ),
        ),
    },
)

# zot
# - Follows the specification nearly everywhere, and asks for a password by Basic: https://zotregistry.dev.
# - The Range of a PATCH is that of the piece, not of all bytes so far (before 2.1.6):
#   https://github.com/regclient/regclient/issues/961, https://github.com/opencontainers/distribution-spec/pull/581.
# - A chunk out of order is answered with 416, in a PUT too:
#   https://github.com/opencontainers/distribution-spec/issues/590.
# - A single POST with the blob is accepted; schema 1 is not.


def _say_range_of_piece(call: Call, response: web.Response) -> None:
    upload = call.storage.upload(call.route.reference)
    if upload is not None and upload.last_chunk_bytes and upload.last_chunk_bytes < upload.offset:
        call.meet("range of the piece")
        response.headers["Range"] = f"0-{upload.last_chunk_bytes - 1}"


ZOT = Double(
    "zot",
    "zot",
    Behaviour(double="zot", users={"syncer": PASSWORD}, basic_realm="Authorization Required", accepts_schema1=False),
    after={ExtraOperation.PATCH_UPLOAD: (_say_range_of_piece,)},
)

_CLOUDS = (ECR, ECR_PUBLIC, GAR, HUB, ACR_ALIYUN, ACR_AZURE, GHCR, QUAY)
_OWN_SERVERS = (HARBOR, GITLAB, NEXUS, ARTIFACTORY, REGISTRY2, REGISTRY3, ZOT)

DOUBLES: Mapping[str, Double] = {double.name: double for double in (*_CLOUDS, *_OWN_SERVERS)}
"""By the name that `Behaviour.double` has."""

_NONE = Double("", "a registry that keeps to the specification", Behaviour())


def double_of(behaviour: Behaviour) -> Double:
    """Return the double that `behaviour` names, or one without rules. Raises ValueError for an unknown name."""
    double = DOUBLES.get(behaviour.double) if behaviour.double else _NONE
    if double is None:
        raise ValueError(f"not a behaviour: there is no double {behaviour.double!r}")
    return double


def parse_behaviour(data: Mapping[str, Any]) -> Behaviour:
    """Return the behaviour that `behaviour_to_data` described. Raises ValueError for unknown names or values."""
    behaviour = decode_behaviour(data)
    double_of(behaviour)
    return behaviour
