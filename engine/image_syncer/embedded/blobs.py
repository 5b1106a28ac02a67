"""Handlers for blobs and uploads. OCI distribution specification 1.1, "Pulling", "Pushing" and "Deleting blobs"."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from image_syncer.embedded.behaviour import LocationForm
from image_syncer.embedded.bodies import receive_body, send_body
from image_syncer.embedded.call import Refusal, parse_digest
from image_syncer.embedded.storage import DigestMismatch
from image_syncer.embedded.tokens import build_challenges
from image_syncer.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from image_syncer.embedded.call import Call
    from image_syncer.embedded.storage import StorageUpload
    from image_syncer.oci import Digest


_RANGE = lazy_pattern(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = lazy_pattern(r"(\d+)-(\d+)")
_BUSY_S = 5.0  # how long a request waits for another one to the same upload


async def head_blob(call: Call) -> web.StreamResponse:
    """Answer with the size of the blob."""
    digest = parse_digest(call.route.reference)
    size = call.storage.blob_size(call.repository, digest)
    if size is None:
        raise _unknown_blob(digest)
    return web.Response(headers={**_headers(call, digest), "Content-Length": str(size)})


async def get_blob(call: Call) -> web.StreamResponse:
    """Answer with the bytes of the blob, or redirect to them."""
    digest = parse_digest(call.route.reference)
    if call.behaviour.redirect_blobs:
        if call.storage.blob_size(call.repository, digest) is None:
            raise _unknown_blob(digest)
        location = f"{call.companion_url}/storage/{call.repository}/{digest}?{_sign(call, digest)}"
        return web.Response(status=call.behaviour.redirect_status, headers={"Location": location})
    return await _send_blob(call, digest)


async def get_redirected_blob(call: Call) -> web.StreamResponse:
    """Answer with the blob at a signed address. Refuses an Authorization header (400), as S3 does."""
    digest = parse_digest(call.route.reference)
    if "Authorization" in call.request.headers:
        raise Refusal(400, "UNSUPPORTED", "only one way to prove who you are is allowed: the signature")
    signature = call.request.query.get("X-Signature", "")
    uses = call.service.signature_uses
    if not hmac.compare_digest(signature.partition(".")[0], _signature(call, digest)):
        raise Refusal(403, "DENIED", "the signature does not match")
    if signature in uses:
        if uses[signature] == 0:
            raise Refusal(403, "DENIED", "the signature has expired")
        uses[signature] -= 1
    return await _send_blob(call, digest)


async def delete_blob(call: Call) -> web.StreamResponse:
    """Delete the blob from the repository."""
    digest = parse_digest(call.route.reference)
    if not call.behaviour.deletes:
        raise Refusal(405, "UNSUPPORTED", "deletes are switched off")
    if not call.storage.delete_blob(call.repository, digest):
        raise _unknown_blob(digest)
    return web.Response(status=202)


async def _send_blob(call: Call, digest: Digest) -> web.StreamResponse:
    reader = call.storage.open_blob(call.repository, digest)
    if reader is None:
        raise _unknown_blob(digest)
    try:
        headers = _headers(call, digest)
        found = _parse_range(call.request.headers.get("Range"), reader.size) if call.behaviour.ranges else None
        response = web.StreamResponse(headers=headers)
        if found is None:
            await send_body(call, response, reader, 0, reader.size)
        elif found[0] >= found[1]:
            whole = ("Content-Range", f"bytes */{reader.size}")
            raise Refusal(416, "RANGE_INVALID", "the range begins after the end of the blob", headers=(whole,))
        else:
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {found[0]}-{found[1] - 1}/{reader.size}"
            await send_body(call, response, reader, *found)
        return response
    finally:
        reader.close()


def _parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return begin and end (exclusive) of the range, or None for the whole blob (RFC 9110, section 14.2)."""
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size if int(last) else 0
    return int(first), min(size, int(last) + 1) if last else size


def _headers(call: Call, digest: Digest) -> dict[str, str]:
    headers = call.digest_header(digest, call.behaviour.digest_header_on_get)
    headers.update({"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": f'"{digest}"'})
    return headers


def _signature(call: Call, digest: Digest) -> str:
    text = f"{call.repository}/{digest}".encode()
    return hmac.new(call.service.signature_key, text, hashlib.sha256).hexdigest()


def _sign(call: Call, digest: Digest) -> str:
    signature = _signature(call, digest)
    uses = call.behaviour.redirect_uses
    if uses is not None:
        signature += f".{len(call.service.signature_uses)}"
        call.service.signature_uses[signature] = uses
    return f"X-Signature={signature}&X-Algorithm=HMAC%2BSHA256"


def _unknown_blob(digest: Digest) -> Refusal:
    return Refusal(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})


async def start_upload(call: Call) -> web.StreamResponse:
    """Mount a blob, accept a whole one, or open a session."""
    query, behaviour = call.request.query, call.behaviour
    if not behaviour.implicit_repositories and not call.storage.has_repository(call.repository):
        raise Refusal(404, "NAME_UNKNOWN", "repository name not known to registry", quirk="repository missing")
    if "mount" in query:
        digest = parse_digest(query["mount"])
        if _try_mount(call, digest, query.get("from")):
            return _blob_created(call, digest, 201)
    elif "digest" in query and behaviour.single_post:
        digest = parse_digest(query["digest"])
        upload = call.storage.start_upload(call.repository)
        upload.expect_algorithm(digest.algorithm)
        _check_length(call)
        await receive_body(call, upload)
        _commit(call, upload, digest)
        return _blob_created(call, digest, behaviour.put_status)
    upload = call.storage.start_upload(call.repository)
    return _session(call, upload, 202)


async def patch_upload(call: Call) -> web.StreamResponse:
    """Append a piece to the upload."""
    if not call.behaviour.chunked_uploads:
        raise Refusal(405, "UNSUPPORTED", "this registry takes a blob in one piece only", quirk="patch refused")
    async with _open_session(call) as upload:
        _check_state(call, upload)
        _check_range(call, upload)
        _check_chunk(call, upload)
        _check_length(call)
        before = upload.offset
        await receive_body(call, upload)
        upload.last_chunk_bytes = upload.offset - before
        return _session(call, upload, call.behaviour.patch_status)


async def put_upload(call: Call) -> web.StreamResponse:
    """Accept the rest of the blob, or all of it, and commit the upload."""
    if "digest" not in call.request.query:
        raise Refusal(400, "DIGEST_INVALID", "the digest is missing")
    digest = parse_digest(call.request.query["digest"])
    async with _open_session(call) as upload:
        _check_state(call, upload)
        _check_range(call, upload)
        _check_length(call)
        if not call.behaviour.single_put and upload.offset == 0 and call.request.content_length != 0:
            raise Refusal(400, "BLOB_UPLOAD_INVALID", "the blob has to come in pieces", quirk="put refused")
        upload.expect_algorithm(digest.algorithm)
        await receive_body(call, upload)
        _commit(call, upload, digest)
    return _blob_created(call, digest, call.behaviour.put_status)


async def get_upload(call: Call) -> web.StreamResponse:
    """Answer with the offset of the session and its newest Location."""
    async with _open_session(call) as upload:
        return _session(call, upload, 204)


async def cancel_upload(call: Call) -> web.StreamResponse:
    """Discard the session."""
    async with _open_session(call) as upload:
        call.storage.discard_upload(upload)
    return web.Response(status=204)


def _try_mount(call: Call, digest: Digest, source: str | None) -> bool:
    behaviour, storage = call.behaviour, call.storage
    if behaviour.mount_status == 202 or not (behaviour.mounts and call.may_mount):  # noqa: PLR2004 - the status itself
        call.meet("mount ignored")
        return False
    if behaviour.mount_status is not None:
        headers = build_challenges(call, {}) if behaviour.mount_status == 401 else ()  # noqa: PLR2004
        message = "mounts are refused here"
        raise Refusal(behaviour.mount_status, "UNSUPPORTED", message, headers=headers, quirk="mount refused")
    if source is None and not behaviour.mount_without_from:
        return False
    if behaviour.mount_needs_manifest and not (source and storage.names_blob(source, digest)):
        return False
    return storage.mount_blob(call.repository, digest, source)


@asynccontextmanager
async def _open_session(call: Call) -> AsyncIterator[StorageUpload]:
    """Return the session in the path, for one request at a time.

    Another request waits for a moment: a client often resumes before the server has seen the cut.
    """
    upload = _find(call)
    try:
        await asyncio.wait_for(upload.lock.acquire(), _BUSY_S)
    except asyncio.TimeoutError:
        raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload") from None
    try:
        yield _find(call)  # it may have ended while this request waited
    finally:
        upload.lock.release()


def _find(call: Call) -> StorageUpload:
    upload = call.storage.upload(call.route.reference)
    if upload is None or upload.repository != call.repository:
        raise _unknown_upload()
    expiry_s = call.behaviour.upload_expiry_s
    now_s = time.monotonic()
    if expiry_s is not None and now_s - upload.touched_at > expiry_s:
        call.storage.discard_upload(upload)
        raise _unknown_upload()
    upload.touched_at = now_s
    return upload


def _unknown_upload() -> Refusal:
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", quirk="session lost")


def _check_state(call: Call, upload: StorageUpload) -> None:
    """Check that the query of the newest Location comes back byte for byte."""
    if not call.behaviour.strict_state:
        return
    raw = call.raw_query
    if raw != upload.query and not raw.startswith(upload.query + "&"):
        raise _out_of_order(call, upload, "this is not the newest Location of the upload")


def _check_range(call: Call, upload: StorageUpload) -> None:
    header = call.request.headers.get("Content-Range")
    if header is None or not call.behaviour.content_range:
        return
    match = _CONTENT_RANGE.fullmatch(header)
    if match is None:
        raise Refusal(400, "BLOB_UPLOAD_INVALID", "Content-Range must be <first>-<last>")
    first, last = int(match[1]), int(match[2])
    if first != upload.offset:
        raise _out_of_order(call, upload, f"the upload continues at {upload.offset}")
    if call.request.content_length not in (None, last - first + 1):
        raise Refusal(400, "SIZE_INVALID", "Content-Range and Content-Length differ")


def _check_chunk(call: Call, upload: StorageUpload) -> None:
    if upload.last_chunk_bytes is not None and upload.last_chunk_bytes < call.behaviour.chunk_min_bytes:
        raise Refusal(416, "SIZE_INVALID", "only the last chunk may be shorter than OCI-Chunk-Min-Length")


def _check_length(call: Call) -> None:
    limit, length = call.behaviour.max_content_length, call.request.content_length
    if limit is not None and length is not None and length > limit:
        raise Refusal(413, "SIZE_INVALID", f"bodies over {limit} bytes are refused", quirk="body too long")


def _out_of_order(call: Call, upload: StorageUpload, message: str) -> Refusal:
    return Refusal(416, "BLOB_UPLOAD_INVALID", message, headers=_session_headers(call, upload).items())


def _commit(call: Call, upload: StorageUpload, digest: Digest) -> None:
    try:
        call.storage.commit_upload(upload, digest)
    except DigestMismatch as error:
        message = "provided digest did not match uploaded content"
        raise Refusal(400, "DIGEST_INVALID", message, detail=str(error)) from None


def _blob_created(call: Call, digest: Digest, status: int) -> web.Response:
    headers = {
        "Location": f"/v2/{call.repository}/blobs/{digest}",
        **call.digest_header(digest, call.behaviour.digest_header_on_put),
    }
    return web.Response(status=status, headers=headers)


def _session(call: Call, upload: StorageUpload, status: int) -> web.Response:
    headers = _session_headers(call, upload)
    if call.behaviour.chunk_min_bytes:
        headers["OCI-Chunk-Min-Length"] = str(call.behaviour.chunk_min_bytes)
    return web.Response(status=status, headers=headers)


def _session_headers(call: Call, upload: StorageUpload) -> dict[str, str]:
    """Return the headers of a session. The Location changes with every byte, as that of distribution does."""
    text = f"{upload.id} {upload.offset}".encode()
    state = base64.b64encode(hmac.new(call.service.signature_key, text, hashlib.sha256).digest()).decode()
    parts = (call.behaviour.location_query, f"_state={quote(state, safe='')}")
    upload.query = "&".join(part for part in parts if part)
    prefix = call.behaviour.upload_prefix or "/v2"
    noun = "uploads" if call.behaviour.upload_prefix else "blobs/uploads"
    path = f"{prefix}/{call.repository}/{noun}/{upload.id}?{upload.query}"
    return {
        "Location": _location(call, path),
        "Range": f"0-{max(0, upload.offset - 1)}",
        "Docker-Upload-UUID": upload.id,
    }


def _location(call: Call, path: str) -> str:
    form = call.behaviour.location_form
    if form is LocationForm.ABSOLUTE:
        return call.own_url + path
    if form is LocationForm.WITHOUT_SCHEME:
        return f"//{call.request.host}{path}"
    if form is LocationForm.COMPANION:
        return call.companion_url + path
    return path
