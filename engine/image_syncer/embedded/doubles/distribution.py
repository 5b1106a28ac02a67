"""The registry of the CNCF distribution project, 2.8 and 3.0, as its image runs without further settings.

Read at https://github.com/distribution/distribution (registry/handlers/blobupload.go, tags.go, catalog.go), and tried
with the package docker-registry of Debian, which is 2.8.

- A POST ignores body and digest (2.8, 3.0).
- A list of tags ignores `n` and `last` in 2.8; a catalog refuses an `n` over 1,000 (400 PAGINATION_NUMBER_INVALID).
- Deletes are off (405 UNSUPPORTED) and there is no referrers API.
- 2.8 ignores Content-Range; 3.0 answers 416 to what is out of order
  (https://github.com/distribution/distribution/pull/3227).
- An upload whose body was cut is gone, its state is 404 (tried with 2.8), and an address that is not the newest too.
- Manifests have at most 4 MiB; schema 1 is taken from nobody by 3.0, and by 2.8 with a proper signature only.
- 2.8 knows no other unit of Range than bytes (416), and deletes manifests by digest only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.doubles.double import Double
from image_syncer.embedded.doubles.rules import ignore_post_body
from image_syncer.embedded.refusal import Refusal
from image_syncer.embedded.route import ExtraOperation
from image_syncer.registry import Operation
from image_syncer.values import replace

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call

__all__ = ["REGISTRY2", "REGISTRY3"]

_CATALOG_LIMIT = 1000


def _need_newest_address(call: Call) -> None:
    upload = call.storage.upload(call.route.reference)
    if upload is not None and not (call.raw_query + "&").startswith(upload.query + "&"):
        raise Refusal(404, "BLOB_UPLOAD_INVALID", "blob upload invalid", quirk="old address")


def _count_status(call: Call, refusal: Refusal) -> Refusal:
    if call.route.kind is Operation.GET_UPLOAD:
        call.meet("session status refused")
    return refusal


def _refuse_other_units(call: Call) -> None:
    unit, equals, _ = call.request.headers.get("Range", "").partition("=")
    if equals and unit.strip() != "bytes":
        raise Refusal(416, "RANGE_INVALID", "invalid content range", quirk="unit of a range refused")


def _delete_digests_only(call: Call) -> None:
    if ":" not in call.route.reference:
        raise Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content", quirk="delete refused")


def _refuse_long_catalog(call: Call) -> None:
    count = call.request.query.get("n", "")
    if count.isdecimal() and int(count) > _CATALOG_LIMIT:
        message = "invalid number of results requested"
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", message, quirk="page too large")


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
        Operation.GET_BLOB: (_refuse_other_units,),
        ExtraOperation.DELETE_MANIFEST: (_delete_digests_only,),
    },
)
