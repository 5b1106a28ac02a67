"""Blobs: HEAD, GET and DELETE. OCI distribution specification 1.1, "Pulling blobs" and "Deleting blobs"."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from aiohttp import web

from image_syncer.embedded.bodies import send_body
from image_syncer.embedded.call import parse_digest
from image_syncer.embedded.refusal import Refusal

if TYPE_CHECKING:
    from image_syncer.embedded.call import Call
    from image_syncer.oci import Digest

__all__ = ["delete_blob", "get_blob", "get_redirected_blob", "head_blob"]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def head_blob(call: Call) -> web.StreamResponse:
    """Whether the blob is there, and how large it is."""
    digest = parse_digest(call.route.reference)
    size = call.storage.blob_size(call.repository, digest)
    if size is None:
        raise _unknown(digest)
    return web.Response(headers={**_headers(call, digest), "Content-Length": str(size)})


async def get_blob(call: Call) -> web.StreamResponse:
    """The bytes of the blob, or where they are."""
    digest = parse_digest(call.route.reference)
    if call.behaviour.redirect_blobs:
        if call.storage.blob_size(call.repository, digest) is None:
            raise _unknown(digest)
        location = f"{call.companion_url}/storage/{call.repository}/{digest}?{_sign(call, digest)}"
        return web.Response(status=call.behaviour.redirect_status, headers={"Location": location})
    return await _send_blob(call, digest)


async def get_redirected_blob(call: Call) -> web.StreamResponse:
    """The bytes of the blob at a signed address. As S3 does, this refuses an Authorization header (400)."""
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
    """Take the blob from the repository."""
    digest = parse_digest(call.route.reference)
    if not call.behaviour.deletes:
        raise Refusal(405, "UNSUPPORTED", "deletes are switched off")
    if not call.storage.delete_blob(call.repository, digest):
        raise _unknown(digest)
    return web.Response(status=202)


async def _send_blob(call: Call, digest: Digest) -> web.StreamResponse:
    reader = call.storage.open_blob(call.repository, digest)
    if reader is None:
        raise _unknown(digest)
    try:
        headers = _headers(call, digest)
        found = _parse_range(call.request.headers.get("Range"), reader.size) if call.behaviour.ranges else None
        response = web.StreamResponse(headers=headers)
        if found is None:
            await send_body(call, response, reader, 0, reader.size)
        elif found[0] >= found[1]:
            whole = {"Content-Range": f"bytes */{reader.size}"}
            raise Refusal(416, "RANGE_INVALID", "the range begins after the end of the blob", headers=whole)
        else:
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {found[0]}-{found[1] - 1}/{reader.size}"
            await send_body(call, response, reader, *found)
        return response
    finally:
        reader.close()


def _parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Begin and end (without) of the one range asked for; None: everything (RFC 9110, section 14.2)."""
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


def _unknown(digest: Digest) -> Refusal:
    return Refusal(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})
