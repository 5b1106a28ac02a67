"""Amazon ECR, private; see `ecr_rules` for what it has in common with the public one.

- Basic, with the user `AWS` and a password of GetAuthorizationToken that holds for 12 hours:
  https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html.
- Actions have limits of their own, PutImage 10 and InitiateLayerUpload 100 a second; beyond them ThrottlingException,
  over the distribution API 429 TOOMANYREQUESTS: https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html.
- Mounts happen only where the account was set to BLOB_MOUNTING, and are else ignored (202):
  https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html.
- At most 1,000 names of a list at once: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html.
- Immutable tags answer 400 TAG_INVALID: https://github.com/moby/buildkit/issues/3776.
- Blobs lie in S3, at signed addresses, which answer 400 where an Authorization header arrives:
  https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
- Its own API is JSON over `POST /`, with the action in X-Amz-Target:
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/Welcome.html. Signatures are not checked here, only that
  there is one.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.doubles.double import PASSWORD, Double, json_answer
from image_syncer.embedded.doubles.ecr_rules import ACCOUNT, AFTER, BEFORE
from image_syncer.embedded.fault import RateLimit, RetryAfter
from image_syncer.embedded.refusal import Refusal
from image_syncer.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from image_syncer.embedded.call import Call

__all__ = ["ECR"]

_USER = "AWS"
_REGION = "us-east-1"
_REALM = f'https://{ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/",service="ecr.amazonaws.com'
_TOKEN_S = 12 * 3600
_PREFIX = "AmazonEC2ContainerRegistry_V20150921."
_JSON = "application/x-amz-json-1.1"
_BODY_LIMIT_BYTES = 2**20
_MAX_DIGESTS = 100  # of BatchCheckLayerAvailability


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
        "registryId": ACCOUNT,
        "repositoryArn": f"arn:aws:ecr:{_REGION}:{ACCOUNT}:repository/{name}",
        "repositoryUri": f"{ACCOUNT}.dkr.ecr.{_REGION}.amazonaws.com/{name}",
        "imageTagMutability": "MUTABLE",
    }


def _create_repository(call: Call, data: Mapping[str, Any]) -> dict[str, Any]:
    name = _name(data)
    if call.storage.has_repository(name):
        message = f"The repository with name '{name}' already exists in the registry with id '{ACCOUNT}'"
        raise _Fault("RepositoryAlreadyExistsException", message)
    call.storage.create_repository(name)
    return {"repository": _describe(name)}


def _describe_repositories(call: Call, data: Mapping[str, Any]) -> dict[str, Any]:
    names = data.get("repositoryNames") or call.storage.repositories()
    return {"repositories": [_describe(_existing(call, {"repositoryName": name})) for name in names]}


def _existing(call: Call, data: Mapping[str, Any]) -> str:
    name = _name(data)
    if not call.storage.has_repository(name):
        message = f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
        raise _Fault("RepositoryNotFoundException", message)
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
        raise _Fault("SerializationException", "") from None
    return action(call, data)


def _say_immutable(call: Call, _refusal: Refusal) -> Refusal:
    tag = f"The image tag '{call.route.reference}' already exists in the '{call.repository}' repository"
    return Refusal(400, "TAG_INVALID", f"{tag} and cannot be overwritten because the tag is immutable.")


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
    before=BEFORE,
    after=AFTER,
    phrases={"tag immutable": _say_immutable},
    owned=(("POST", "/"),),
    answer=_answer,
)
