"""Listings: tags, catalog and referrers. OCI distribution specification 1.1, "Content Discovery"."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
from aiohttp import web

from image_syncer.embedded.behaviour import LinkForm, PageMarker
from image_syncer.embedded.call import parse_digest
from image_syncer.embedded.refusal import Refusal
from image_syncer.oci import OCI_INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.embedded.call import Call
    from image_syncer.embedded.catalogue import StoredManifest

__all__ = ["list_catalog", "list_referrers", "list_tags"]


async def list_tags(call: Call) -> web.StreamResponse:
    """A page of the tags of the repository, in lexical order."""
    if not call.storage.has_repository(call.repository):
        raise Refusal(404, "NAME_UNKNOWN", "repository name not known to registry")
    names = call.storage.tags(call.repository)
    page, headers = _page(call, names) if call.behaviour.tag_pages else (list(names), {})
    tags: list[str] | None = page
    if call.behaviour.null_tag_list and not page:
        call.meet("null tag list")
        tags = None
    return _json({"name": call.repository, "tags": tags}, headers)


async def list_catalog(call: Call) -> web.StreamResponse:
    """A page of the repositories; not of the specification, but of distribution."""
    page, headers = _page(call, call.storage.repositories())
    return _json({"repositories": page}, headers)


async def list_referrers(call: Call) -> web.StreamResponse:
    """The manifests whose subject is the digest, as an index; an empty one where there are none."""
    if not call.behaviour.referrers:
        raise Refusal(404, "UNSUPPORTED", "there is no referrers API here", quirk="no referrers")
    subject = parse_digest(call.route.reference)
    found = call.storage.referrers(call.repository, subject)
    headers = {}
    wanted = call.request.query.get("artifactType")
    if wanted:
        found = [manifest for manifest in found if manifest.artifact_type == wanted]
        headers["OCI-Filters-Applied"] = "artifactType"
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_descriptor(item) for item in found]}
    return _json(index, headers, content_type=OCI_INDEX)


def _descriptor(manifest: StoredManifest) -> dict[str, Any]:
    descriptor: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
    }
    if manifest.artifact_type:
        descriptor["artifactType"] = manifest.artifact_type
    if manifest.annotations:
        descriptor["annotations"] = dict(manifest.annotations)
    return descriptor


def _page(call: Call, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The names after `last`, at most `n` of them, and a Link to what follows (RFC 8288)."""
    size = _page_size(call)
    begin = _begin(call, names)
    if size is None:
        return list(names[begin:]), {}
    page = list(names[begin : begin + size])
    if not page or begin + size >= len(names):
        return page, {}
    target = f"{call.request.path}?{urlencode({**_marker(call, page[-1], begin + size), 'n': size})}"
    form = call.behaviour.link_form
    if form is LinkForm.MISSING:
        return page, {}
    if form is LinkForm.ABSOLUTE:
        target = call.own_url + target
    elif form is LinkForm.OTHER_HOST:
        target = call.companion_url + target
    return page, {"Link": f'<{target}>; rel="next"'}


def _begin(call: Call, names: Sequence[str]) -> int:
    """The place in `names` where the page begins."""
    form, query = call.behaviour.page_marker, call.request.query
    last = query.get("last", "")
    if form is PageMarker.NAME:
        return bisect_right(names, last)
    if form is PageMarker.NUMBER:
        if last and not last.isdecimal():
            call.meet("last is no number")
        return int(last) if last.isdecimal() else 0
    if last:
        call.meet("last ignored")
    return bisect_right(names, bytes.fromhex(query.get("next_page", "")).decode())


def _marker(call: Call, last: str, count: int) -> dict[str, str]:
    form = call.behaviour.page_marker
    if form is PageMarker.OPAQUE:
        return {"next_page": last.encode().hex()}
    return {"last": str(count) if form is PageMarker.NUMBER else last}


def _page_size(call: Call) -> int | None:
    text, behaviour = call.request.query.get("n"), call.behaviour
    if text is None:
        return behaviour.default_page_size
    if not (text.isascii() and text.isdigit()):
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "n must be a number that is not negative")
    if int(text) > behaviour.max_page_size and behaviour.page_limit_status is not None:
        raise Refusal(
            behaviour.page_limit_status,
            "PAGINATION_NUMBER_INVALID",
            f"n is at most {behaviour.max_page_size}",
            quirk="page too large",
        )
    return min(int(text), behaviour.max_page_size)


def _json(data: dict[str, Any], headers: dict[str, str], *, content_type: str = "application/json") -> web.Response:
    return web.Response(body=orjson.dumps(data), headers=headers, content_type=content_type)
