"""Handlers for manifests and listings. OCI distribution specification 1.1, "Pulling", "Pushing", "Deleting" and
"Content Discovery".
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
from aiohttp import web

from image_syncer.embedded.behaviour import FaultKind, LinkForm, PageMarker
from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.call import Refusal, parse_digest
from image_syncer.embedded.storage import StoredManifest
from image_syncer.oci import OCI_INDEX, InvalidManifest, ManifestKind, is_tag, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.embedded.call import Call
    from image_syncer.oci import Digest, Manifest


async def list_tags(call: Call) -> web.StreamResponse:
    """Answer with a page of the repository's tags, in lexical order."""
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
    """Answer with a page of the repositories, as distribution does; the specification has no catalog."""
    page, headers = _page(call, call.storage.repositories())
    return _json({"repositories": page}, headers)


async def list_referrers(call: Call) -> web.StreamResponse:
    """Answer with an index of the manifests whose subject is the digest."""
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
    """Return at most `n` names after `last`, and a Link to the next page (RFC 8288)."""
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
    """Return the index in `names` where the page begins."""
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
    try:
        return bisect_right(names, bytes.fromhex(query.get("next_page", "")).decode())
    except ValueError:
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "next_page is not a marker of this registry") from None


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
        message = f"n is at most {behaviour.max_page_size}"
        status = behaviour.page_limit_status
        raise Refusal(status, "PAGINATION_NUMBER_INVALID", message, quirk="page too large")
    return min(int(text), behaviour.max_page_size)


def _json(data: dict[str, Any], headers: dict[str, str], *, content_type: str = "application/json") -> web.Response:
    return web.Response(body=orjson.dumps(data), headers=headers, content_type=content_type)


async def head_manifest(call: Call) -> web.StreamResponse:
    """Answer with digest, media type and size of the manifest."""
    manifest = _find(call)
    return web.Response(headers={**_headers(call, manifest), "Content-Length": str(manifest.size)})


async def get_manifest(call: Call) -> web.StreamResponse:
    """Answer with the manifest, byte for byte as pushed."""
    manifest = _find(call)
    body = call.storage.read_manifest(manifest)
    if call.stream_fault(FaultKind.WRONG_BYTES):
        body += b" "  # the same JSON with another digest
    return web.Response(headers=_headers(call, manifest), body=body)


async def put_manifest(call: Call) -> web.StreamResponse:
    """Store a manifest under a tag or its digest, if its blobs and children exist."""
    reference, behaviour = call.route.reference, call.behaviour
    tag = None if ":" in reference else reference
    if tag is not None and not is_tag(tag):
        raise Refusal(400, "TAG_INVALID", "manifest tag did not match the form of a tag")
    claimed = None if tag is not None else parse_digest(reference)
    if not behaviour.implicit_repositories and not call.storage.has_repository(call.repository):
        raise Refusal(404, "NAME_UNKNOWN", "repository name not known to registry", quirk="repository missing")
    raw = await read_small_body(call, behaviour.max_manifest_bytes)
    manifest = _parse(call, raw, claimed)
    if tag is not None and behaviour.immutable_tags:
        present = call.storage.tag(call.repository, tag)
        if present not in (None, manifest.digest):
            message = f"tag {tag} is immutable and points at another manifest"
            raise Refusal(412, "PRECONDITION", message, quirk="tag immutable")
    if behaviour.check_references:
        _check_references(call, manifest)
    call.storage.put_manifest(call.repository, describe_manifest(manifest), raw, tag)
    await call.storage.settle()
    headers = {
        "Location": f"/v2/{call.repository}/manifests/{manifest.digest}",
        **call.digest_header(manifest.digest, behaviour.digest_header_on_put),
    }
    if manifest.subject is not None and behaviour.referrers:
        headers["OCI-Subject"] = manifest.subject.digest
    return web.Response(status=201, headers=headers)


async def delete_manifest(call: Call) -> web.StreamResponse:
    """Delete a tag, or a manifest with all its tags."""
    if not call.behaviour.deletes:
        raise Refusal(405, "UNSUPPORTED", "deletes are switched off")
    reference = call.route.reference
    if ":" in reference:
        deleted = call.storage.delete_manifest(call.repository, parse_digest(reference))
    else:
        deleted = call.storage.delete_tag(call.repository, reference)
    if not deleted:
        raise _unknown(call)
    await call.storage.settle()
    return web.Response(status=202)


def describe_manifest(manifest: Manifest) -> StoredManifest:
    """Return what a storage keeps of a manifest beside its bytes."""
    artifact_type = manifest.artifact_type
    if artifact_type is None and manifest.config is not None:  # "Listing Referrers": then it is the config's
        artifact_type = manifest.config.media_type
    return StoredManifest(
        digest=manifest.digest,
        media_type=manifest.media_type,
        size=len(manifest.raw),
        subject=manifest.subject.digest if manifest.subject is not None else None,
        artifact_type=artifact_type,
        annotations=orjson.loads(manifest.raw).get("annotations") or {},
        names=frozenset(each.digest for each in (*manifest.blobs, *manifest.children)),
    )


def _find(call: Call) -> StoredManifest:
    reference = call.route.reference
    digest = parse_digest(reference) if ":" in reference else call.storage.tag(call.repository, reference)
    manifest = call.storage.manifest(call.repository, digest) if digest is not None else None
    if manifest is None:
        raise _unknown(call)
    if call.behaviour.strict_accept:
        accepted = ",".join(call.request.headers.getall("Accept", []))
        if manifest.media_type not in accepted and "*/*" not in accepted:
            raise Refusal(404, "MANIFEST_UNKNOWN", f"{manifest.media_type} found, but the request does not accept it")
    return manifest


def _headers(call: Call, manifest: StoredManifest) -> dict[str, str]:
    return {
        "Content-Type": manifest.media_type,
        "ETag": f'"{manifest.digest}"',
        **call.digest_header(manifest.digest, call.behaviour.digest_header_on_get),
    }


def _parse(call: Call, raw: bytes, claimed: Digest | None) -> Manifest:
    algorithm = claimed.algorithm if claimed is not None else "sha256"
    try:
        manifest = parse_manifest(raw, call.request.headers.get("Content-Type"), algorithm=algorithm)
    except InvalidManifest as error:
        raise Refusal(400, "MANIFEST_INVALID", "manifest invalid", detail=str(error)) from None
    if manifest.kind is ManifestKind.SCHEMA1 and not call.behaviour.accepts_schema1:
        raise Refusal(400, "MANIFEST_INVALID", "schema 1 is no longer taken")
    if claimed is not None and claimed != manifest.digest:
        raise Refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    return manifest


def _check_references(call: Call, manifest: Manifest) -> None:
    storage, repository = call.storage, call.repository
    missing = [blob.digest for blob in manifest.blobs if storage.blob_size(repository, blob.digest) is None]
    missing += [each.digest for each in manifest.children if storage.manifest(repository, each.digest) is None]
    if missing:
        message = "manifest references a manifest or blob unknown to registry"
        raise Refusal(400, "MANIFEST_BLOB_UNKNOWN", message, detail=[{"digest": digest} for digest in missing])


def _unknown(call: Call) -> Refusal:
    if not call.storage.has_repository(call.repository):
        return Refusal(404, "NAME_UNKNOWN", "repository name not known to registry")
    return Refusal(404, "MANIFEST_UNKNOWN", call.storage.lacks(call.repository, call.route.reference))
