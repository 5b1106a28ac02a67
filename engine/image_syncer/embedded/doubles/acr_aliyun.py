"""Alibaba Cloud Container Registry.

- Tokens come from another host, at `/auth`.
- A namespace must be there before a push, else "requested access to the resource is denied":
  https://github.com/imdingtalk/image-mirror/issues/1408.
- Whether a blob is there (HEAD) is told to nobody who may only pull: "denied", where the GET works:
  https://github.com/AliyunContainerService/image-syncer/issues/149.
- Tags of private repositories are listed only for who has logged in, with whatever rights a token has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour, TokenService
from image_syncer.embedded.doubles.double import PASSWORD, Double
from image_syncer.embedded.refusal import Refusal
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call

__all__ = ["ACR_ALIYUN"]

_DENIED = "requested access to the resource is denied"


def _need_namespace(call: Call) -> None:
    if call.behaviour.implicit_projects:
        return
    namespace, slash, _ = call.repository.partition("/")
    if slash and any(name.startswith(f"{namespace}/") for name in call.storage.repositories()):
        return
    raise Refusal(403, "DENIED", _DENIED, quirk="namespace missing")


def _need_push_to_look(call: Call) -> None:
    if call.behaviour.users and "push" not in call.granted:
        raise Refusal(403, "DENIED", _DENIED, quirk="head of a blob denied")


def _need_user_to_list(call: Call) -> None:
    if call.behaviour.users and call.user is None:
        raise Refusal(401, "UNAUTHORIZED", "authentication required", quirk="list of tags denied")


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
        Operation.HEAD_BLOB: (_need_push_to_look,),
        Operation.LIST_TAGS: (_need_user_to_list,),
        Operation.START_UPLOAD: (_need_namespace,),
        Operation.PUT_MANIFEST: (_need_namespace,),
    },
)
