"""Manifests: HEAD, GET, PUT and DELETE. OCI distribution specification 1.1, "Pulling", "Pushing" and
"Deleting manifests".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.call import parse_digest
from image_syncer.embedded.catalogue import StoredManifest
from image_syncer.embedded.fault import FaultKind
from image_syncer.embedded.refusal import Refusal
from image_syncer.oci import InvalidManifest, ManifestKind, is_tag, parse_manifest

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call
    from image_syncer.embedded.storage import Storage
    from image_syncer.oci import Digest, Manifest

__all__ = ["delete_manifest", "describe_manifest", "get_manifest", "head_manifest", "put_manifest"]


async def head_manifest(call: Call) -> web.StreamResponse:
    """Digest, media type and size of the manifest."""
    manifest = _find(call)
    return web.Response(headers={**_headers(call, manifest), "Content-Length": str(manifest.size)})


async def get_manifest(call: Call) -> web.StreamResponse:
    """The manifest, byte for byte as it was pushed."""
    manifest = _find(call)
    body = call.storage.read_manifest(manifest)
    if call.stream_fault(FaultKind.WRONG_BYTES):
        body += b" "  # JSON of the same meaning, and not what the digest names
    return web.Response(headers=_headers(call, manifest), body=body)


async def put_manifest(call: Call) -> web.StreamResponse:
    """Take a manifest under a tag or its digest, once everything that it names is there."""
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
    """Take a tag, or a manifest with all its tags, from the repository."""
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
    """What a storage keeps of a manifest beside its bytes."""
    annotations = orjson.loads(manifest.raw).get("annotations") or {}
    artifact_type = manifest.artifact_type
    if artifact_type is None and manifest.config is not None:
        artifact_type = (
            manifest.config.media_type
        )  # "Listing Referrers": an image manifest without one has its config's
    named = (*manifest.blobs, *manifest.children)
    return StoredManifest(
        digest=manifest.digest,
        media_type=manifest.media_type,
        size=len(manifest.raw),
        subject=manifest.subject.digest if manifest.subject is not None else None,
        artifact_type=artifact_type,
        annotations=annotations,
        names=frozenset(descriptor.digest for descriptor in named),
    )


def _missing_references(storage: Storage, repository: str, manifest: Manifest) -> list[Digest]:
    """The blobs and children that `manifest` names and the repository lacks."""
    blobs = [blob.digest for blob in manifest.blobs if storage.blob_size(repository, blob.digest) is None]
    return blobs + [child.digest for child in manifest.children if storage.manifest(repository, child.digest) is None]


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
    missing = _missing_references(call.storage, call.repository, manifest)
    if missing:
        raise Refusal(
            400,
            "MANIFEST_BLOB_UNKNOWN",
            "manifest references a manifest or blob unknown to registry",
            detail=[{"digest": digest} for digest in missing],
        )


def _unknown(call: Call) -> Refusal:
    if not call.storage.has_repository(call.repository):
        return Refusal(404, "NAME_UNKNOWN", "repository name not known to registry")
    return Refusal(404, "MANIFEST_UNKNOWN", call.storage.lacks(call.repository, call.route.reference))
