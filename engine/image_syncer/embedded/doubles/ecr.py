"""Amazon ECR, the private and the public one.

Both:
- The repository must exist before a push: 404 NAME_UNKNOWN, "The repository with name '…' does not exist in the
  registry with id '…'"; if the body of an upload comes all the same, the connection is cut:
  https://github.com/dotnet/sdk-container-builds/pull/279.
- A PATCH answers 201: https://github.com/kitops-ml/kitops/issues/821. Its Range stays at the first piece, though every
  piece is kept: https://github.com/aws/containers-roadmap/issues/2831.
- Every part but the last has at least 5 MiB (LayerPartTooSmallException):
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html,
  https://github.com/dotnet/sdk-container-builds/issues/424.
- No action ends an upload, so a DELETE of the session is unsupported:
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html.

Private:
- Basic, with the user `AWS` and a password of GetAuthorizationToken that is valid for 12 hours:
  https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html.
- Actions have their own limits, PutImage 10 and InitiateLayerUpload 100 per second; beyond them ThrottlingException,
  over the distribution API 429 TOOMANYREQUESTS: https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html.
- Mounts work only if the account is set to BLOB_MOUNTING, else they are ignored (202):
  https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html.
- At most 1,000 names per list: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html.
- Immutable tags answer 400 TAG_INVALID: https://github.com/moby/buildkit/issues/3776.
- Blobs are in S3, at signed addresses, which answer 400 to an Authorization header:
  https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
- Its own API is JSON over `POST /`, with the action in X-Amz-Target:
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html. A signature is required here, but not checked.

Public:
- Tokens come from `/token/` and always have the scope "aws"; an anonymous pull is allowed:
  https://docs.aws.amazon.com/AmazonECR/latest/public/public-registry-auth.html.
- No list of all repositories, and no mounts; ten pulls per second after a login:
  https://docs.aws.amazon.com/AmazonECR/latest/public/public-service-quotas.html.
- The token service accepts the user `AWS`, as the private one does.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.behaviour import Behaviour, RateLimit, RetryAfter, TokenService
from image_syncer.embedded.bodies import abort, read_small_body
from image_syncer.embedded.call import Refusal
from image_syncer.embedded.doubles.double import PASSWORD, Double, json_answer, no_cancel, refuse, say
from image_syncer.embedded.route import ExtraOperation
from image_syncer.oci import Digest
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from image_syncer.embedded.call import Call
    from image_syncer.embedded.doubles.double import Change, Rule
    from image_syncer.embedded.route import RequestKind


_ACCOUNT = "123456789012"
_PART_MIN_BYTES = 5 * 2**20
_PART_TOO_SMALL = f"Layer parts must be at least {_PART_MIN_BYTES} bytes in size, except for the last part."
_USER = "AWS"
_REGION = "us-east-1"
_REALM = f'https://{_ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/",service="ecr.amazonaws.com'
_TOKEN_S = 12 * 3600
_PREFIX = "AmazonEC2ContainerRegistry_V20150921."
_JSON = "application/x-amz-json-1.1"
_BODY_LIMIT_BYTES = 2**20
_MAX_DIGESTS = 100  # of BatchCheckLayerAvailability


def _need_repository(call: Call) -> None:
    if call.behaviour.implicit_projects or call.storage.has_repository(call.repository):
        return
    quirk = "repository missing"
    if call.route.kind is not Operation.PUT_MANIFEST and call.request.can_read_body:
        call.meet(quirk)
        raise abort(call.request)
    raise Refusal(404, "NAME_UNKNOWN", _no_repository(call.repository), quirk=quirk)


def _no_repository(name: str) -> str:
    return f"The repository with name '{name}' does not exist in the registry with id '{_ACCOUNT}'"


def _is_part_too_small(call: Call) -> bool:
    upload = call.storage.upload(call.route.reference)
    last = None if upload is None else upload.last_chunk_bytes
    return last is not None and last < _PART_MIN_BYTES and call.request.content_length != 0


_refuse_small_part = refuse(400, "BLOB_UPLOAD_INVALID", _PART_TOO_SMALL, "part too small", when=_is_part_too_small)


def _keep_first_range(call: Call, response: web.Response) -> None:
    first = call.memory.setdefault("first ranges", {}).setdefault(call.route.reference, response.headers["Range"])
    if response.headers["Range"] != first:
        call.meet("stale range")
        response.headers["Range"] = first


_BEFORE: Mapping[RequestKind, tuple[Rule, ...]] = {
    Operation.HEAD_MANIFEST: (_need_repository,),
    Operation.GET_MANIFEST: (_need_repository,),
    Operation.PUT_MANIFEST: (_need_repository,),
    Operation.HEAD_BLOB: (_need_repository,),
    Operation.LIST_TAGS: (_need_repository,),
    Operation.START_UPLOAD: (_need_repository,),
    ExtraOperation.PATCH_UPLOAD: (_need_repository, _refuse_small_part),
    Operation.PUT_UPLOAD: (_need_repository, _refuse_small_part),
    Operation.CANCEL_UPLOAD: (no_cancel,),
}
_AFTER: Mapping[RequestKind, tuple[Change, ...]] = {ExtraOperation.PATCH_UPLOAD: (_keep_first_range,)}


class _Fault(Exception):  # noqa: N818 - an answer of the API
    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        self.message = message
        super().__init__(message)


def _name(data: Mapping[str, Any]) -> str:
    name = data.get("repositoryName")
    if not isinstance(name, str) or not name:
        raise _Fault("InvalidParameterException", "Invalid parameter at 'repositoryName'")
    return name


def _describe(name: str) -> dict[str, Any]:
    return {
        "repositoryName": name,
        "registryId": _ACCOUNT,
        "repositoryArn": f"arn:aws:ecr:{_REGION}:{_ACCOUNT}:repository/{name}",
        "repositoryUri": f"{_ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/{name}",
        "imageTagMutability": "MUTABLE",
    }


def _create_repository(call: Call, data: Mapping[str, Any]) -> dict[str, Any]:
    name = _name(data)
    if call.storage.has_repository(name):
        message = f"The repository with name '{name}' already exists in the registry with id '{_ACCOUNT}'"
        raise _Fault("RepositoryAlreadyExistsException", message)
    call.storage.create_repository(name)
    return {"repository": _describe(name)}


def _describe_repositories(call: Call, data: Mapping[str, Any]) -> dict[str, Any]:
    names = data.get("repositoryNames") or call.storage.repositories()
    return {"repositories": [_describe(_existing(call, {"repositoryName": name})) for name in names]}


def _existing(call: Call, data: Mapping[str, Any]) -> str:
    name = _name(data)
    if not call.storage.has_repository(name):
        raise _Fault("RepositoryNotFoundException", _no_repository(name))
    return name


def _check_layers(call: Call, data: Mapping[str, Any]) -> dict[str, Any]:
    name, digests = _existing(call, data), data.get("layerDigests") or []
    if not 1 <= len(digests) <= _MAX_DIGESTS:
        raise _Fault("InvalidParameterException", f"'layerDigests' must have 1 to {_MAX_DIGESTS} members")
    layers, failures = [], []
    for text in digests:
        try:
            size = call.storage.blob_size(name, Digest(text))
        except ValueError:
            reason = "Invalid layer digest"
            failures.append({"layerDigest": text, "failureCode": "InvalidLayerDigest", "failureReason": reason})
            continue
        found = {"layerDigest": text, "layerAvailability": "UNAVAILABLE" if size is None else "AVAILABLE"}
        layers.append(found if size is None else {**found, "layerSize": size})
    return {"layers": layers, "failures": failures}


def _get_token(call: Call, _data: Mapping[str, Any]) -> dict[str, Any]:
    call.counters.add_token()
    token = base64.b64encode(f"{_USER}:{PASSWORD}".encode()).decode()
    found = {"authorizationToken": token, "expiresAt": time.time() + _TOKEN_S, "proxyEndpoint": call.own_url}
    return {"authorizationData": [found]}


_ACTIONS: Mapping[str, Callable[[Call, Mapping[str, Any]], dict[str, Any]]] = {
    "BatchCheckLayerAvailability": _check_layers,
    "CreateRepository": _create_repository,
    "DescribeRepositories": _describe_repositories,
    "GetAuthorizationToken": _get_token,
}


async def _answer(call: Call) -> web.StreamResponse:
    body = await read_small_body(call, _BODY_LIMIT_BYTES)
    try:
        return json_answer(_act(call, body), content_type=_JSON)
    except _Fault as fault:
        return json_answer({"__type": fault.kind, "message": fault.message}, 400, _JSON)


def _act(call: Call, body: bytes) -> dict[str, Any]:
    if not call.request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
        raise _Fault("MissingAuthenticationTokenException", "Missing Authentication Token")
    action = _ACTIONS.get(call.request.headers.get("X-Amz-Target", "").removeprefix(_PREFIX))
    if action is None:
        raise _Fault("UnknownOperationException", "")
    try:
        data = orjson.loads(body or b"{}")
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise _Fault("SerializationException", "")
    return action(call, data)


def _at_most(kind: str, per_s: int) -> RateLimit:
    body = '{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}'
    return RateLimit((kind,), burst=per_s, per_s=per_s, retry_after=RetryAfter.NONE, body=body)


ECR = Double(
    "ecr",
    "Amazon ECR, private",
    Behaviour(
        double="ecr",
        users={_USER: PASSWORD},
        basic_realm=_REALM,
        redirect_blobs=True,
        patch_status=201,
        mounts=False,
        mount_needs_manifest=True,
        implicit_projects=False,
        page_limit_status=400,
        rate_limits=(_at_most("put manifest", 10), _at_most("start upload", 100)),
    ),
    before=_BEFORE,
    after=_AFTER,
    phrases={
        "tag immutable": say(
            400,
            "TAG_INVALID",
            "The image tag '{reference}' already exists in the '{repository}' repository and cannot be overwritten "
            "because the tag is immutable.",
        )
    },
    owned=(("POST", "/"),),
    answer=_answer,
)

ECR_PUBLIC = Double(
    "ecr-public",
    "Amazon ECR Public",
    Behaviour(
        double="ecr-public",
        users={_USER: PASSWORD},
        anonymous=("pull",),
        bearer=TokenService(expires_in_s=_TOKEN_S, service="public.ecr.aws", path="/token/", one_scope="aws"),
        redirect_blobs=True,
        patch_status=201,
        mounts=False,
        implicit_projects=False,
        rate_limits=(RateLimit(("get manifest",), burst=10, per_s=10, retry_after=RetryAfter.NONE),),
    ),
    before={
        **_BEFORE,
        Operation.LIST_CATALOG: (refuse(404, "UNSUPPORTED", "the operation is unsupported", "no catalog"),),
    },
    after=_AFTER,
)
