"""The probes that write, with `write` only: each form of upload, a mount, a cancelled session, a manifest, and the
deletion of all of it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import orjson

from image_syncer.doctor.access import READ_ONLY
from image_syncer.doctor.checks import Check, failed, fine, skipped, warned
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
from image_syncer.registry.manifests import build_delete_blob, build_delete_manifest
from image_syncer.units import format_count, format_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.doctor.checks import Subject
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Request

    _Send = Callable[[UploadSession, bytes], Awaitable[None]]


CLEAN_UP_S, DELETION_S = 28.0, 8.0
"""For all deletions, and for one: a deletion that hangs must not prevent the report of the rest."""
SMALL_BYTES = 3 * 1024
LARGE_BYTES = 2**20
"""Large enough to measure the speed, small enough for every registry and line."""
TAG_PREFIX = "image-syncer-doctor-"
_REFUSALS = frozenset({*range(400, 500), 501, 507})
_OK, _CREATED, _NOT_ALLOWED = 200, 201, 405
_SESSION_STATUSES = (201, 202)
_PATCH_STATUSES = (202, 201, 204)
_STATUS_STATUSES = (204, 200, 202)
_PUT_STATUSES = (201, 200, 202, 204)
_BLOB_STATUSES = (201, 200, 204)
_DELETE_STATUSES = (202, 200, 204)
_SESSION, _BLOB = "open upload session", "blob"
_LEFT = "Take it away by hand, where the registry allows that, and have the registry collect its garbage."
_MADE_BY_RUNS = "A run makes the repository, as create_repositories says, and the doctor does not: make it first."
_CHANGED = "The registry changes what is put there, and digests are not kept."


class Writing:
    """The probes that write to the repository, with a record of what they created, for `clean_up`."""

    def __init__(self, subject: Subject) -> None:
        assert subject.repository is not None
        self._subject = subject
        self._repository: Repository = subject.repository
        self._facts = subject.learnt.facts
        self._sessions: list[UploadSession] = []
        self._blobs: list[Digest] = []
        self._manifests: list[tuple[str, Digest]] = []
        self._config: tuple[Digest, int] | None = None
        self._layer: tuple[Digest, int] | None = None

    @property
    def _at(self) -> tuple[Endpoint, Repository]:
        return self._subject.endpoint, self._repository

    async def put_small(self) -> Check:
        """Upload by POST and one PUT, as runs do."""
        data = _random_bytes(SMALL_BYTES)
        try:
            digest = await self._upload(data, self._put)
        except RefusedError as error:
            return failed(error, READ_ONLY if error.status == _NOT_ALLOWED else None)
        except NotFoundError as error:
            is_made = self._subject.registries.template_for(self._repository) is not None
            return failed(error, _MADE_BY_RUNS if is_made else None)
        self._config = digest, len(data)
        return fine("POST, then one PUT", size_bytes=len(data))

    async def put_large(self) -> Check:
        """Upload a blob that is large enough to measure the speed."""
        data = _random_bytes(LARGE_BYTES)
        self._layer = await self._upload(data, self._put), len(data)
        return fine("POST, then one PUT", size_bytes=len(data))

    async def head_blob(self) -> Check:
        """Check that a HEAD finds the uploaded blob."""
        assert self._layer is not None
        digest, size = self._layer
        response = await self._subject.exchange(build_head_blob(*self._at, digest))
        self._facts["head_blob"] = response.status == _OK
        if response.status != _OK:
            text = f"answered {response.status} about a blob that was just taken"
            return warned(text, "Runs ask by a mount instead; a copy in several places may lag behind.")
        length = content_length(response.headers)
        if length not in (None, size):
            return failed(f"the registry says that a blob of {size} bytes has {length}", None)
        return fine("it is there, by HEAD")

    async def stream(self) -> Check:
        """Upload by one PATCH and an empty PUT, for proxies that refuse a long PUT."""
        return await self._optional("patch_stream", "PATCH with everything, then PUT", self._patch_whole)

    async def pieces(self) -> Check:
        """Upload by several PATCHes and an empty PUT, as resumed uploads do."""
        least_bytes = self._subject.profile.least_piece_bytes
        if least_bytes > LARGE_BYTES:
            return skipped(f"pieces have at least {format_size(least_bytes)} there, which is more than is tried")
        return await self._optional("patch_pieces", "PATCH in two pieces, then PUT", self._patch_pieces)

    async def single_post(self) -> Check:
        """Upload by one POST (section "Single POST"); most registries open a session instead."""
        data = _random_bytes(SMALL_BYTES)
        digest = digest_of(data)
        started = build_start_upload(*self._at)
        headers = (("Content-Type", "application/octet-stream"),)
        request = started._replace(url=append_query(started.url, f"digest={digest}"), body=data, headers=headers)
        self._blobs.append(digest)
        try:
            response = await self._subject.ask(request, _SESSION_STATUSES)
        except SyncError as error:
            if _is_refusal(error):
                self._blobs.remove(digest)
            self._facts["single_post"] = False
            return skipped(f"refused: {error.message}")
        self._facts["single_post"] = response.status == _CREATED
        if response.status == _CREATED:
            return fine("POST with everything", size_bytes=len(data))
        self._blobs.remove(digest)
        opened = parse_start_upload(response, started.url)
        if isinstance(opened, UploadSession):
            self._sessions.append(opened)
        return skipped("not offered: a session was opened instead")

    async def mount(self) -> Check:
        """Mount a blob of the same repository, as later runs do."""
        assert self._config is not None
        request = build_start_upload(*self._at, mount=self._config[0], from_name=self._repository.name)
        try:
            response = await self._subject.ask(request, _SESSION_STATUSES)
        except SyncError as error:
            self._facts["mount"] = False
            return skipped(f"refused: {error.message}")
        opened = parse_start_upload(response, request.url)
        self._facts["mount"] = isinstance(opened, Mounted)
        if isinstance(opened, Mounted):
            return fine("a blob of the same repository is mounted")
        self._sessions.append(opened)
        return skipped("not offered: a session was opened instead; second runs send blobs again")

    async def cancel(self) -> Check:
        """Read the state of an upload, and cancel it."""
        session = await self._open()
        request = build_get_upload(*self._at, session)
        try:
            status = parse_upload_status(await self._subject.ask(request, _STATUS_STATUSES), session.url)
        except SyncError as error:
            self._facts["upload_status"] = False
            state = f"its state is not reported ({error.message})"
        else:
            self._facts["upload_status"] = True
            state = "its state is reported"
            self._sessions[-1] = session = status.session
        try:
            await self._delete(build_cancel_upload(*self._at, session))
        except SyncError as error:
            self._facts["cancel"] = False
            if not self._subject.profile.cancels_uploads:
                return skipped(f"an upload cannot be given up at registries of this kind; {state}")
            text = f"an upload cannot be given up: {error.message}; {state}"
            return warned(text, "What broken uploads leave stays until the registry drops it.")
        self._sessions.remove(session)
        self._facts["cancel"] = True
        return fine(f"an upload can be given up, and {state}")

    async def put_manifest(self) -> Check:
        """Put a manifest with a new tag, and read the tag."""
        assert self._config is not None
        assert self._layer is not None
        tag = f"{TAG_PREFIX}{os.urandom(4).hex()}"
        body = _build_image(self._config, self._layer)
        digest = digest_of(body)
        self._manifests.append((tag, digest))
        request = build_put_manifest(*self._at, tag, OCI_MANIFEST, body)
        try:
            response = await self._subject.ask(request, _PUT_STATUSES)
        except SyncError as error:
            if _is_refusal(error):
                self._manifests.pop()
            raise
        parse_put_manifest(response, digest)
        response = await self._subject.ask(build_head_manifest(*self._at, tag))
        found = parse_manifest_head(response).digest
        if found is not None and found != digest:
            self._manifests[-1] = (tag, found)  # the digest to delete
            return failed(f"the tag {tag} is {found.short}, and {digest.short} was put", _CHANGED)
        return fine(f"the tag {tag} was put, and is there", size_bytes=len(body), tag=tag, digest=digest)

    async def clean_up(self) -> Check:
        """Delete everything that was created, and report the rest."""
        sessions = self._sessions if self._subject.profile.cancels_uploads else []
        deletions = [
            *((f"the tag {tag}", build_delete_manifest(*self._at, each)) for tag, each in self._manifests),
            *((_SESSION, build_cancel_upload(*self._at, each)) for each in sessions),
            *((_BLOB, build_delete_blob(*self._at, each)) for each in self._blobs),
        ]
        left: Counter[str] = Counter()
        reason = ""
        ends_at = time.monotonic() + CLEAN_UP_S
        for what, request in deletions:
            longest_s = min(DELETION_S, ends_at - time.monotonic())
            if why := await self._why_it_stays(request, longest_s):
                left[what] += 1
                reason = reason or why
        self._facts["delete"] = not left
        if not deletions:
            return skipped("nothing was made")
        if not left:
            return fine("everything that was made is gone again")
        named = [format_count(count, what) if what in (_SESSION, _BLOB) else what for what, count in left.items()]
        return warned(f"what stays in {self._repository}: {', '.join(named)} ({reason})", _LEFT, left=named)

    async def _why_it_stays(self, request: Request, longest_s: float) -> str:
        """Send a deletion, and return why it failed, or ""."""
        try:
            await asyncio.wait_for(self._delete(request), longest_s)
        except asyncio.TimeoutError:
            return "the registry did not answer in time"
        except NotFoundError:
            return ""
        except SyncError as error:
            _, answered, said = error.message.partition(" answered ")
            return f"the registry answered {said}" if answered else error.message
        return ""

    async def _delete(self, request: Request) -> None:
        await self._subject.ask(request, _DELETE_STATUSES)

    async def _optional(self, fact: str, what: str, send: _Send) -> Check:
        data = _random_bytes(SMALL_BYTES)
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
        self._blobs.append(digest)  # without an answer, the blob may exist
        try:
            await send(session, data)
        except SyncError as error:
            if _is_refusal(error):
                self._blobs.remove(digest)
            raise
        self._sessions.remove(session)
        return digest

    async def _open(self) -> UploadSession:
        request = build_start_upload(*self._at)
        opened = parse_start_upload(await self._subject.ask(request, _SESSION_STATUSES), request.url)
        assert isinstance(opened, UploadSession)  # the request asks for no mount
        self._sessions.append(opened)
        return opened

    async def _put(self, session: UploadSession, data: bytes) -> None:
        await self._close_session(session, data, data)

    async def _patch_whole(self, session: UploadSession, data: bytes) -> None:
        request = build_patch_upload(*self._at, session, 0, len(data))
        headers = tuple((name, value) for name, value in request.headers if name != "Content-Range")
        response = await self._subject.ask(request._replace(headers=headers, body=data), _PATCH_STATUSES)
        await self._close_session(parse_patch_upload(response, session.url), data, b"")

    async def _patch_pieces(self, session: UploadSession, data: bytes) -> None:
        middle = min(max(len(data) // 2, session.min_chunk_bytes), len(data))
        for begin, end in ((0, middle), (middle, len(data))):
            if begin < end:
                request = build_patch_upload(*self._at, session, begin, end)
                response = await self._subject.ask(request._replace(body=data[begin:end]), _PATCH_STATUSES)
                session = parse_patch_upload(response, session.url)
        await self._close_session(session, data, b"")

    async def _close_session(self, session: UploadSession, data: bytes, rest: bytes) -> None:
        """PUT the `rest` of `data`."""
        digest, offset = digest_of(data), len(data) - len(rest)
        request = build_put_upload(*self._at, session, digest, len(data), offset=offset)
        parse_put_upload(await self._subject.ask(request._replace(body=rest), _BLOB_STATUSES), digest)


def _is_refusal(error: SyncError) -> bool:
    """Return whether certainly nothing was stored; a gateway timeout, a cut or an invalid answer do not prove it."""
    return isinstance(error, RegistryError) and error.status is not None and error.status in _REFUSALS


def _random_bytes(size_bytes: int) -> bytes:
    """Return random printable bytes, since libcurl's copy of a body in memory ends at a zero."""
    return os.urandom(size_bytes // 2).hex().encode()


def _build_image(config: tuple[Digest, int], layer: tuple[Digest, int]) -> bytes:
    """Return a formally valid image manifest (image specification 1.1, "Image Manifest")."""
    return orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config[0], "size": config[1]},
            "layers": [{"mediaType": OCI_LAYER, "digest": layer[0], "size": layer[1]}],
        }
    )
