"""What can be written, with `write` only: a blob in each form of upload, a mount, a session given up, a manifest.

Whatever is made is noted, so that it is taken away again (`trail`).

The trail of the probes that write: what they made in the registry, and how it is taken away again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import orjson

from image_syncer.doctor.check import Check, failed, fine, skipped, warned
from image_syncer.doctor.rights import READ_ONLY
from image_syncer.errors import NotFoundError, RefusedError, RegistryError, SyncError
from image_syncer.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Digest, digest_of
from image_syncer.registry import (
    Mounted,
    UploadSession,
    append_query,
    build_cancel_upload,
    build_get_upload,
    build_head_blob,
    build_head_manifest,
    build_patch_upload,
    build_put_manifest,
    build_put_upload,
    build_start_upload,
    content_length,
    parse_manifest_head,
    parse_patch_upload,
    parse_put_manifest,
    parse_put_upload,
    parse_start_upload,
    parse_upload_status,
)
from image_syncer.registry.deletion import build_delete_blob, build_delete_manifest
from image_syncer.units import format_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.doctor.examined import Subject
    from image_syncer.oci import Repository
    from image_syncer.registry import Request

    _Send = Callable[["Writing", UploadSession, bytes], Awaitable[None]]

__all__ = ["Trail", "Writing"]


CLEAN_UP_S, DELETION_S = 28.0, 8.0
"""For taking away all of it, and for one thing of it: what hangs must not keep the rest from being told."""
_DELETE_STATUSES = (202, 200, 204)
_SESSION, _BLOB = "open upload session", "blob"
_MANY = (_SESSION, _BLOB)
_LEFT = "Take it away by hand, where the registry allows that, and have the registry collect its garbage."


class Trail:
    """What was made in `repository`, and has to be taken away: upload sessions, blobs, manifests with their tags."""

    def __init__(self, examined: Subject, repository: Repository) -> None:
        self._examined = examined
        self._repository = repository
        self.sessions: list[UploadSession] = []
        self.blobs: list[Digest] = []
        self.manifests: list[tuple[str, Digest]] = []

    async def clean_up(self) -> Check:
        """Take away whatever was made; what stays is told."""
        endpoint, repository = self._examined.endpoint, self._repository
        sessions = self.sessions if self._examined.profile.cancels_uploads else []
        deletions = [
            *((f"the tag {tag}", build_delete_manifest(endpoint, repository, each)) for tag, each in self.manifests),
            *((_SESSION, self.cancellation(each)) for each in sessions),
            *((_BLOB, build_delete_blob(endpoint, repository, each)) for each in self.blobs),
        ]
        left: Counter[str] = Counter()
        reason = ""
        ends_at = time.monotonic() + CLEAN_UP_S
        for what, request in deletions:
            longest_s = min(DELETION_S, ends_at - time.monotonic())
            if why := await self._why_it_stays(request, longest_s):
                left[what] += 1
                reason = reason or why
        self._examined.learnt.facts["delete"] = not left
        if not deletions:
            return skipped("nothing was made")
        if not left:
            return fine("everything that was made is gone again")
        named = [
            f"{count} {what}{'' if count == 1 else 's'}" if what in _MANY else what for what, count in left.items()
        ]
        return warned(f"what stays in {repository}: {', '.join(named)} ({reason})", _LEFT, left=named)

    def cancellation(self, session: UploadSession) -> Request:
        """The request that gives up `session`."""
        return build_cancel_upload(self._examined.endpoint, self._repository, session)

    async def delete(self, request: Request) -> None:
        """Send `request`; raises SyncError where what it deletes stays."""
        response = await self._examined.exchange(request)
        if response.status not in _DELETE_STATUSES:
            raise self._examined.failure(response, request)

    async def _why_it_stays(self, request: Request, longest_s: float) -> str:
        """Why it could not be taken away in that time, "" where it is gone."""
        try:
            await asyncio.wait_for(self.delete(request), longest_s)
        except asyncio.TimeoutError:
            return "the registry did not answer in time"
        except NotFoundError:
            return ""
        except SyncError as error:
            _, answered, said = error.message.partition(" answered ")
            return f"the registry answered {said}" if answered else error.message
        return ""


SMALL_BYTES = 3 * 1024
LARGE_BYTES = 2**20
"""Large enough to show how fast the way is, small enough for every registry and every line."""
TAG_PREFIX = "image-syncer-doctor-"
_REFUSALS = frozenset({*range(400, 500), 501, 507})
_OK, _CREATED, _NOT_ALLOWED = 200, 201, 405
_SESSION_STATUSES = (201, 202)
_PATCH_STATUSES = (202, 201, 204)
_STATUS_STATUSES = (204, 200, 202)
_PUT_STATUSES = (201, 200, 202, 204)
_BLOB_STATUSES = (201, 200, 204)
_MADE_BY_RUNS = "A run makes the repository, as create_repositories says, and the doctor does not: make it first."
_CHANGED = "The registry changes what is put there, and digests are not kept."


class Writing:
    """The probes that write, all in one repository."""

    def __init__(self, examined: Subject) -> None:
        assert examined.repository is not None
        self._examined = examined
        self._repository: Repository = examined.repository
        self._trail = Trail(examined, self._repository)
        self._config: tuple[Digest, int] | None = None
        self._layer: tuple[Digest, int] | None = None

    async def clean_up(self) -> Check:
        """Take away whatever was made; what stays is told."""
        return await self._trail.clean_up()

    async def put_small(self) -> Check:
        """POST, then one PUT: how runs upload."""
        data = _made_up(SMALL_BYTES)
        try:
            digest = await self._upload(data, _put)
        except RefusedError as error:
            return failed(error, READ_ONLY if error.status == _NOT_ALLOWED else None)
        except NotFoundError as error:
            is_made = self._examined.registries.template_for(self._repository) is not None
            return failed(error, _MADE_BY_RUNS if is_made else None)
        self._config = digest, len(data)
        return fine("POST, then one PUT", size_bytes=len(data))

    async def put_large(self) -> Check:
        """The same with a blob that shows how fast the way is; then it has to be there."""
        data = _made_up(LARGE_BYTES)
        digest = await self._upload(data, _put)
        self._layer = digest, len(data)
        return fine("POST, then one PUT", size_bytes=len(data))

    async def head_blob(self) -> Check:
        """Whether what was uploaded is there, and whether HEAD says so."""
        assert self._layer is not None
        digest, size = self._layer
        response = await self._examined.exchange(build_head_blob(self._examined.endpoint, self._repository, digest))
        self._facts["head_blob"] = response.status == _OK
        if response.status != _OK:
            text = f"answered {response.status} about a blob that was just taken"
            return warned(text, "Runs ask by a mount instead; a copy in several places may lag behind.")
        told = content_length(response.headers)
        if told not in (None, size):
            return failed(f"the registry says that a blob of {size} bytes has {told}", None)
        return fine("it is there, by HEAD")

    async def stream(self) -> Check:
        """PATCH with everything, then a PUT without anything: where a proxy does not take a long PUT."""
        return await self._optional("patch_stream", "PATCH with everything, then PUT", _patch_whole)

    async def pieces(self) -> Check:
        """PATCH piece by piece, then a PUT without anything: what uploads that break go on with."""
        least_bytes = self._examined.profile.least_piece_bytes
        if least_bytes > LARGE_BYTES:
            return skipped(f"pieces have at least {format_size(least_bytes)} there, which is more than is tried")
        return await self._optional("patch_pieces", "PATCH in two pieces, then PUT", _patch_pieces)

    async def single_post(self) -> Check:
        """One POST with everything (section "Single POST"): most registries open a session instead."""
        data = _made_up(SMALL_BYTES)
        digest = digest_of(data)
        started = build_start_upload(self._examined.endpoint, self._repository)
        headers = (("Content-Type", "application/octet-stream"),)
        request = started._replace(url=append_query(started.url, f"digest={digest}"), body=data, headers=headers)
        self._trail.blobs.append(digest)
        try:
            response = await self._examined.ask(request, _SESSION_STATUSES)
        except SyncError as error:
            if _is_refusal(error):
                self._trail.blobs.remove(digest)
            self._facts["single_post"] = False
            return skipped(f"refused: {error.message}")
        self._facts["single_post"] = response.status == _CREATED
        if response.status == _CREATED:
            return fine("POST with everything", size_bytes=len(data))
        self._trail.blobs.remove(digest)
        opened = parse_start_upload(response, started.url)
        if isinstance(opened, UploadSession):
            self._trail.sessions.append(opened)
        return skipped("not offered: a session was opened instead")

    async def mount(self) -> Check:
        """A mount of a blob that the repository has: what second runs ask for instead of sending it."""
        assert self._config is not None
        request = build_start_upload(
            self._examined.endpoint, self._repository, mount=self._config[0], from_name=self._repository.name
        )
        try:
            response = await self._examined.ask(request, _SESSION_STATUSES)
        except SyncError as error:
            self._facts["mount"] = False
            return skipped(f"refused: {error.message}")
        opened = parse_start_upload(response, request.url)
        self._facts["mount"] = isinstance(opened, Mounted)
        if isinstance(opened, Mounted):
            return fine("a blob of the same repository is mounted")
        self._trail.sessions.append(opened)
        return skipped("not offered: a session was opened instead; second runs send blobs again")

    async def cancel(self) -> Check:
        """How far an upload came, and whether it can be given up."""
        session = await self._open()
        request = build_get_upload(self._examined.endpoint, self._repository, session)
        try:
            status = parse_upload_status(await self._examined.ask(request, _STATUS_STATUSES), session.url)
        except SyncError as error:
            self._facts["upload_status"] = False
            told = f"its state is not told ({error.message})"
        else:
            self._facts["upload_status"] = True
            told = "its state is told"
            self._trail.sessions[-1] = session = status.session
        try:
            await self._trail.delete(self._trail.cancellation(session))
        except SyncError as error:
            self._facts["cancel"] = False
            if not self._examined.profile.cancels_uploads:
                return skipped(f"an upload cannot be given up at registries of this kind; {told}")
            text = f"an upload cannot be given up: {error.message}; {told}"
            return warned(text, "What broken uploads leave stays until the registry drops it.")
        self._trail.sessions.remove(session)
        self._facts["cancel"] = True
        return fine(f"an upload can be given up, and {told}")

    async def put_manifest(self) -> Check:
        """A manifest with a tag of its own, and whether the tag is there afterwards."""
        assert self._config is not None
        assert self._layer is not None
        tag = f"{TAG_PREFIX}{os.urandom(4).hex()}"
        body = _image(self._config, self._layer)
        digest = digest_of(body)
        endpoint = self._examined.endpoint
        self._trail.manifests.append((tag, digest))
        request = build_put_manifest(endpoint, self._repository, tag, OCI_MANIFEST, body)
        try:
            response = await self._examined.ask(request, _PUT_STATUSES)
        except SyncError as error:
            if _is_refusal(error):
                self._trail.manifests.pop()
            raise
        parse_put_manifest(response, digest)
        response = await self._examined.ask(build_head_manifest(endpoint, self._repository, tag))
        told = parse_manifest_head(response).digest
        if told is not None and told != digest:
            self._trail.manifests[-1] = (tag, told)  # that is what the tag has, and what is to be deleted
            return failed(f"the tag {tag} is {told.short}, and {digest.short} was put", _CHANGED)
        return fine(f"the tag {tag} was put, and is there", size_bytes=len(body), tag=tag, digest=digest)

    @property
    def _facts(self) -> dict[str, object]:
        return self._examined.learnt.facts

    async def _optional(self, fact: str, what: str, send: _Send) -> Check:
        data = _made_up(SMALL_BYTES)
        try:
            await self._upload(data, send)
        except SyncError as error:
            self._facts[fact] = False
            return skipped(f"{what}: refused: {error.message}")
        self._facts[fact] = True
        return fine(what, size_bytes=len(data))

    async def _upload(self, data: bytes, send: _Send) -> Digest:
        digest = digest_of(data)
        session = await self._open()
        self._trail.blobs.append(digest)  # where no answer comes, it may be there all the same
        try:
            await send(self, session, data)
        except SyncError as error:
            if _is_refusal(error):
                self._trail.blobs.remove(digest)
            raise
        self._trail.sessions.remove(session)
        return digest

    async def _open(self) -> UploadSession:
        request = build_start_upload(self._examined.endpoint, self._repository)
        opened = parse_start_upload(await self._examined.ask(request, _SESSION_STATUSES), request.url)
        assert isinstance(opened, UploadSession)  # no mount was asked for
        self._trail.sessions.append(opened)
        return opened

    async def close_session(self, session: UploadSession, data: bytes, rest: bytes) -> None:
        """PUT with what is left of `data`."""
        digest, offset = digest_of(data), len(data) - len(rest)
        endpoint = self._examined.endpoint
        request = build_put_upload(endpoint, self._repository, session, digest, len(data), offset=offset)
        parse_put_upload(await self._examined.ask(request._replace(body=rest), _BLOB_STATUSES), digest)

    async def send_piece(self, session: UploadSession, data: bytes, begin: int, end: int) -> UploadSession:
        """PATCH with a part of `data`; where the upload goes on."""
        request = build_patch_upload(self._examined.endpoint, self._repository, session, begin, end)
        response = await self._examined.ask(request._replace(body=data[begin:end]), _PATCH_STATUSES)
        return parse_patch_upload(response, session.url)

    async def send_whole(self, session: UploadSession, data: bytes) -> UploadSession:
        """PATCH without a range; where the upload goes on."""
        request = build_patch_upload(self._examined.endpoint, self._repository, session, 0, len(data))
        headers = tuple((name, value) for name, value in request.headers if name != "Content-Range")
        request = request._replace(headers=headers, body=data)
        response = await self._examined.ask(request, _PATCH_STATUSES)
        return parse_patch_upload(response, session.url)


def _is_refusal(error: SyncError) -> bool:
    """Whether nothing was taken, surely. A gateway's time-out, a cut or a senseless answer do not say so."""
    return isinstance(error, RegistryError) and error.status is not None and error.status in _REFUSALS


async def _put(writing: Writing, session: UploadSession, data: bytes) -> None:
    await writing.close_session(session, data, data)


async def _patch_whole(writing: Writing, session: UploadSession, data: bytes) -> None:
    await writing.close_session(await writing.send_whole(session, data), data, b"")


async def _patch_pieces(writing: Writing, session: UploadSession, data: bytes) -> None:
    middle = max(len(data) // 2, session.min_chunk_bytes)
    at = await writing.send_piece(session, data, 0, min(middle, len(data)))
    if middle < len(data):
        at = await writing.send_piece(at, data, middle, len(data))
    await writing.close_session(at, data, b"")


def _made_up(size_bytes: int) -> bytes:
    """Bytes that no registry has; printable ones, since libcurl's copy of a body in memory ends at a zero."""
    return os.urandom(size_bytes // 2).hex().encode()


def _image(config: tuple[Digest, int], layer: tuple[Digest, int]) -> bytes:
    """An image that means nothing, and that no registry has to understand (image specification 1.1, "Image
    Manifest").
    """
    return orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config[0], "size": config[1]},
            "layers": [{"mediaType": OCI_LAYER, "digest": layer[0], "size": layer[1]}],
        }
    )
