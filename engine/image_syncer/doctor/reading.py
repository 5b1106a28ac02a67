"""The probes that read: the catalog, the tags, a manifest by HEAD and by GET, a blob, and a part of a blob."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from image_syncer.doctor.checks import Check, failed, fine, skipped, warned
from image_syncer.errors import NotFoundError, ProtocolViolation, SyncError
from image_syncer.oci import Digest, InvalidManifest, digest_of, parse_manifest
from image_syncer.registry import (
    NO_REGISTRY_HINT,
    build_get_blob,
    build_get_manifest,
    build_head_manifest,
    is_page,
    parse_allowance,
    parse_blob_range,
    parse_manifest_head,
    same_origin,
    without_query,
)
from image_syncer.registry.listings import build_list_catalog, build_list_tags, parse_catalog_page, parse_tag_page

if TYPE_CHECKING:
    from image_syncer.doctor.checks import Subject
    from image_syncer.oci import Descriptor, Manifest, Repository
    from image_syncer.registry import ManifestHead, Response


PAGE_SIZE = 100
"""Small enough for every registry, large enough to check that it respects the number."""
LARGEST_BLOB_BYTES = 4 * 2**20
"""The largest blob up to this size is read; a larger one shows nothing more, and costs memory."""
_PUSH_MAKES_IT = "For a destination that is no fault: most registries make it with the first push. Add --write to see."
_OK, _PARTIAL = 200, 206
_DEFAULT_TAG = "latest"
_LEAST_BYTES = 2
_MOST_LEVELS = 3
"""Of indexes in indexes."""


async def probe_catalog(subject: Subject) -> Check:
    """List the repositories; most registries refuse, and only a catalog rule needs it."""
    request = build_list_catalog(subject.endpoint, page_size=PAGE_SIZE)
    try:
        response = await subject.ask(request)
        page = parse_catalog_page(response, request.url)
    except SyncError as error:
        subject.learnt.facts["catalog"] = False
        return skipped(f"not listed: {error.message}", listed=False)
    subject.learnt.facts["catalog"] = True
    more = " and more" if page.next_url else ""
    return fine(f"{_count(len(page.names), 'repository', 'repositories')}{more}", repositories=len(page.names))


async def probe_tags(subject: Subject) -> Check:
    """List one page of the tags."""
    repository = _repository(subject)
    request = build_list_tags(subject.endpoint, repository, page_size=PAGE_SIZE)
    try:
        response = await subject.ask(request)
    except NotFoundError as error:
        if subject.registries.template_for(repository) is not None:
            return warned(f"there is no {repository} yet; a run makes it, as create_repositories says", missing=True)
        if not subject.write:
            return failed(error, f"{error.hint or ''} {_PUSH_MAKES_IT}".strip())
        return warned(f"there is no {repository} yet; most registries make it when something is pushed", missing=True)
    if is_page(response):
        return failed("a web page came for an answer", NO_REGISTRY_HINT)
    page = parse_tag_page(response, request.url)
    subject.learnt.tags = page.names
    more = " and more" if page.next_url else ""
    facts: dict[str, Any] = {"tags": len(page.names), "asked_for": PAGE_SIZE, "more": page.next_url is not None}
    subject.learnt.facts["page_size_kept"] = len(page.names) <= PAGE_SIZE
    return fine(f"{_count(len(page.names), 'tag', 'tags')}{more}", **facts)


async def probe_mirrors(subject: Subject) -> Check:
    """Name the mirrors that a run asks first; they are not subject."""
    mirrors = [str(mirror) for mirror in subject.registries.mirrors_of(_repository(subject))]
    what = f"asked first, for what is known by its digest: {', '.join(mirrors)}; the doctor looks at one at a time"
    return fine(what, mirrors=mirrors)


async def probe_manifest_head(subject: Subject) -> Check:
    """Read a manifest by HEAD, as a run does for an unchanged image."""
    target = _target(subject)
    if target is None:
        return skipped("there is no tag to look at")
    response = await subject.exchange(build_head_manifest(subject.endpoint, _repository(subject), target))
    head = parse_manifest_head(response)
    subject.learnt.head = response
    facts: dict[str, Any] = {
        "status": response.status,
        "target": target,
        "digest": head.digest,
        "media_type": head.media_type,
    }
    subject.learnt.facts["head_manifest"] = response.status == _OK
    if response.status != _OK:
        return warned(f"{target}: answered {response.status}", "Runs ask by GET instead, which costs more.", **facts)
    subject.learnt.facts["digest_header"] = head.digest is not None
    if head.digest is None:
        what = f"{target}: answered without a digest (Docker-Content-Digest)"
        return warned(what, "Every image has to be read to see whether it has changed.", **facts)
    allowance = parse_allowance(response.headers, time.time())
    left = ""
    if allowance is not None and allowance.remaining is not None:
        facts["requests_left"] = allowance.remaining
        left = f"; {allowance.remaining:,} requests left" + (f" of {allowance.limit:,.0f}" if allowance.limit else "")
    return fine(f"{target} is {head.digest.short}{left}", **facts)


async def probe_manifest_get(subject: Subject) -> Check:
    """Read the manifest by GET, and compare it with its digest and with the answer to HEAD."""
    target, head = _target(subject), subject.learnt.head
    if target is None:
        return skipped("there is no tag to look at")
    response = await subject.ask(build_get_manifest(subject.endpoint, _repository(subject), target))
    if is_page(response):
        return failed("a web page came for an answer", NO_REGISTRY_HINT)
    declared = parse_manifest_head(response)
    algorithm = declared.digest.algorithm if declared.digest else "sha256"
    try:
        manifest = parse_manifest(response.body, response.headers.get("Content-Type"), algorithm=algorithm)
    except InvalidManifest as error:
        return failed(f"{target} is no manifest: {error}", None)
    subject.learnt.manifest = manifest
    facts: dict[str, Any] = {"digest": manifest.digest, "media_type": manifest.media_type, "kind": str(manifest.kind)}
    wanted = declared.digest or (Digest(target) if ":" in target else None)
    if wanted is not None and wanted != manifest.digest:
        text = f"{target}: the bytes are {manifest.digest.short}, and the registry says {wanted.short}"
        return failed(text, "The bytes were changed on the way, or the registry is damaged.", **facts)
    if head is not None and head.status == _OK and (lie := _differences(parse_manifest_head(head), manifest)):
        text = f"{target}: HEAD and GET differ: {lie}"
        return warned(text, "A cache in front of the registry may be stale, or the tag has just been pushed.", **facts)
    size = len(response.body)
    return fine(f"{manifest.kind}, its bytes are those of its digest", size_bytes=size, **facts)


def _differences(head: ManifestHead, manifest: Manifest) -> str:
    found = []
    if head.digest is not None and head.digest != manifest.digest:
        found.append(f"{head.digest.short} and {manifest.digest.short}")
    if head.media_type is not None and head.media_type != manifest.media_type:
        found.append(f"{head.media_type} and {manifest.media_type}")
    return ", ".join(found)


async def probe_blob(subject: Subject) -> Check:
    """Read a whole blob, and compare it with its digest."""
    blob = await _choose_blob(subject)
    if blob is None:
        return skipped("there is no image to take a blob of")
    if blob.size > LARGEST_BLOB_BYTES:
        return skipped("every blob of the image is large: only a part is read")
    request = build_get_blob(subject.endpoint, _repository(subject), blob.digest)
    response = await subject.ask(request)
    source = _source_of(request.url, response)
    if digest_of(response.body, blob.digest.algorithm) != blob.digest:
        text = f"the bytes of {blob.digest.short} are others{source}"
        return failed(text, "They were changed on the way, or the registry or its storage is damaged.")
    return fine(f"its bytes are those of its digest{source}", size_bytes=len(response.body), digest=blob.digest)


async def probe_range(subject: Subject) -> Check:
    """Read the rest of a blob from an offset (RFC 9110, section 14.2), as a resumed download does."""
    blob = await _choose_blob(subject)
    if blob is None or blob.size < _LEAST_BYTES:
        return skipped("there is no blob to take a part of")
    offset = blob.size - min(blob.size // 2, LARGEST_BLOB_BYTES)
    request = build_get_blob(subject.endpoint, _repository(subject), blob.digest, offset=offset)
    ignored = warned("the whole blob comes for a part of it", "Downloads that break begin from their first byte.")
    try:
        response = await subject.ask(request, (_OK, _PARTIAL))
    except ProtocolViolation:
        if blob.size <= LARGEST_BLOB_BYTES:
            raise
        subject.learnt.facts["range"] = False
        return ignored
    given = parse_blob_range(response, offset)
    subject.learnt.facts["range"] = given.start == offset
    if given.start != offset:
        return ignored
    if len(response.body) != blob.size - offset:
        return failed(f"{len(response.body)} bytes came instead of {blob.size - offset}", None)
    return fine(f"from byte {offset:,} on{_source_of(request.url, response)}", size_bytes=len(response.body))


async def _choose_blob(subject: Subject) -> Descriptor | None:
    """Return the largest blob of the image within the limit, else the smallest blob."""
    manifest = subject.learnt.manifest
    if manifest is None:
        return None
    for _ in range(_MOST_LEVELS):
        if not manifest.children:
            break
        child = manifest.children[0]
        response = await subject.ask(build_get_manifest(subject.endpoint, _repository(subject), child.digest))
        try:
            manifest = parse_manifest(response.body, child.media_type, algorithm=child.digest.algorithm)
        except InvalidManifest:
            return None
        subject.learnt.manifest = manifest
    blobs = [blob for blob in manifest.blobs if blob.size > 0]
    small = [blob for blob in blobs if blob.size <= LARGEST_BLOB_BYTES]
    if small:
        return max(small, key=lambda blob: blob.size)
    return min(blobs, key=lambda blob: blob.size, default=None)


def _source_of(asked: str, response: Response) -> str:
    if not response.url or same_origin(asked, response.url):
        return ""
    return f", from {without_query(response.url).split('/')[2]}"


def _target(subject: Subject) -> str | None:
    """Return the tag or digest of the user, else `latest`, else the last listed tag."""
    if subject.target is not None:
        return subject.target
    tags = subject.learnt.tags
    return _DEFAULT_TAG if _DEFAULT_TAG in tags else (tags[-1] if tags else None)


def _repository(subject: Subject) -> Repository:
    assert subject.repository is not None
    return subject.repository


def _count(number: int, noun: str, nouns: str) -> str:
    return f"{number:,} {noun if number == 1 else nouns}"
