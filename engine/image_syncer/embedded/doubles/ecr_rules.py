"""What the private and the public Elastic Container Registry have in common.

- The repository must be there before a push: 404 NAME_UNKNOWN, "The repository with name '…' does not exist in the
  registry with id '…'"; where the body of an upload comes all the same, the connection is cut:
  https://github.com/dotnet/sdk-container-builds/pull/279.
- A PATCH answers 201: https://github.com/kitops-ml/kitops/issues/821. Its Range stays at the first piece, though every
  piece is kept: https://github.com/aws/containers-roadmap/issues/2831.
- Every part but the last has at least 5 MiB (LayerPartTooSmallException):
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html,
  https://github.com/dotnet/sdk-container-builds/issues/424.
- There is no action that ends an upload, so that a DELETE of the session is unsupported:
  https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.bodies import abort
from image_syncer.embedded.doubles.rules import no_cancel
from image_syncer.embedded.refusal import Refusal
from image_syncer.embedded.route import ExtraOperation
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from image_syncer.embedded.call import Call
    from image_syncer.embedded.doubles.double import Change, Rule
    from image_syncer.embedded.route import RequestKind

__all__ = ["ACCOUNT", "AFTER", "BEFORE", "PART_MIN_BYTES", "missing_repository"]

ACCOUNT = "123456789012"
PART_MIN_BYTES = 5 * 2**20


def missing_repository(call: Call) -> Refusal | None:
    """What is said where the repository of the request does not exist; None where it does."""
    if call.behaviour.implicit_projects or call.storage.has_repository(call.repository):
        return None
    message = f"The repository with name '{call.repository}' does not exist in the registry with id '{ACCOUNT}'"
    return Refusal(404, "NAME_UNKNOWN", message, quirk="repository missing")


def _need_repository(call: Call) -> None:
    refusal = missing_repository(call)
    if refusal is None:
        return
    if call.request.can_read_body:
        call.meet(refusal.quirk)
        raise abort(call.request)
    raise refusal


def _need_repository_for_manifest(call: Call) -> None:
    refusal = missing_repository(call)
    if refusal is not None:
        raise refusal


def _refuse_small_part(call: Call) -> None:
    upload = call.storage.upload(call.route.reference)
    last = None if upload is None else upload.last_chunk_bytes
    if last is not None and last < PART_MIN_BYTES and call.request.content_length != 0:
        message = f"Layer parts must be at least {PART_MIN_BYTES} bytes in size, except for the last part."
        raise Refusal(400, "BLOB_UPLOAD_INVALID", message, quirk="part too small")


def _keep_first_range(call: Call, response: web.Response) -> None:
    first = call.memory.setdefault("first ranges", {}).setdefault(call.route.reference, response.headers["Range"])
    if response.headers["Range"] != first:
        call.meet("stale range")
        response.headers["Range"] = first


BEFORE: Mapping[RequestKind, tuple[Rule, ...]] = {
    Operation.HEAD_MANIFEST: (_need_repository,),
    Operation.GET_MANIFEST: (_need_repository,),
    Operation.PUT_MANIFEST: (_need_repository_for_manifest,),
    Operation.HEAD_BLOB: (_need_repository,),
    Operation.LIST_TAGS: (_need_repository,),
    Operation.START_UPLOAD: (_need_repository,),
    ExtraOperation.PATCH_UPLOAD: (_need_repository, _refuse_small_part),
    Operation.PUT_UPLOAD: (_need_repository, _refuse_small_part),
    Operation.CANCEL_UPLOAD: (no_cancel,),
}
AFTER: Mapping[RequestKind, tuple[Change, ...]] = {ExtraOperation.PATCH_UPLOAD: (_keep_first_range,)}
