"""Upload: the requests to one destination about one blob, and how its bytes get there whatever breaks off.

`Upload` has the requests: a mount or a session, the bytes in one PUT or in pieces, how far the session came, and its
cancellation. `Sending` and `SmallBlobCopy` decide which request goes out when.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import (
    AuthenticationError,
    IntegrityError,
    Origin,
    ProtocolViolation,
    RegistryError,
    SyncError,
    TransportError,
)
from image_syncer.net import CUT_HEAD, parse_head, set_upload, transport_error
from image_syncer.registry import (
    Mounted,
    Response,
    UploadSession,
    build_cancel_upload,
    build_get_upload,
    build_head_blob,
    build_patch_upload,
    build_put_upload,
    build_start_upload,
    may_carry_credentials,
    parse_patch_upload,
    parse_put_upload,
    parse_start_upload,
    parse_upload_status,
)
from image_syncer.registry.capabilities import KEEPS_PARTIAL, MOUNTS, MOUNTS_FROM_ITSELF, TAKES_PIECES
from image_syncer.scheduling import Arrival
from image_syncer.transfer.stream import Resumption
from image_syncer.values import Value
from image_syncer.worker.context import TransferSide

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.oci import Digest
    from image_syncer.registry import Request
    from image_syncer.transfer.stream import Sender, SmallBlobSender
    from image_syncer.worker.context import WorkerContext
    from image_syncer.worker.protocol import TargetPlace


TOO_LARGE_PIECE_BYTES = 4 * 2**20
"""What proxies accept that refuse a whole blob (413)."""
_TOO_LARGE = 413
_PIECES_REFUSED = (400, 405, 411, 413, 415, 501)
_PASSING = (401, 408, 429, 499)
"""Client errors that say nothing about the session."""
_CLIENT_ERRORS = range(400, 500)
MAX_ANSWER_BYTES = 64 * 1024
"""What is kept of the body of an answer."""
CANCEL_TIMEOUT_S = 5.0
"""How long the DELETE of a session may take: it is a courtesy."""
_SUCCESSES = range(200, 300)
_OPENED = (201, 202)
_COMMITTED = (200, 201, 204)
_TAKEN = (201, 202, 204)
_STATUSES = (200, 202, 204)
_GONE = frozenset(range(400, 500)) - {408, 429, 499} | {501}
"""Answers to a question about a session that has expired, or about any session where the registry answers none."""
_MOUNT_REFUSED = (400, 401, 403, 404, 405, 500, 501)
"""What registries answer, instead of 202, to a mount that they do not implement, fail at, or refuse between these
repositories. Where more than mounts fails, the plain request that follows shows it.
"""
_OK = 200
_UNAUTHORIZED = 401


class Upload(TransferSide):
    """Brings one blob, `small` or not, into one repository. Every method raises `SyncError` where it fails."""

    def __init__(self, place: TargetPlace, digest: Digest, context: WorkerContext, *, small: bool = False) -> None:
        super().__init__(context.client, Origin.DESTINATION, small=small)
        self._place = place
        self._digest = digest
        self._capabilities = context.capabilities
        self._fresh = context.fresh
        self._session: UploadSession | None = None
        self.endpoint = place.endpoint
        self.arrival_without_bytes = Arrival.PRESENT
        """How the blob got there, where `open` returns True."""
        self.kept = 0
        """How many bytes the session had that another worker, or another run, has left open; 0 for a new one."""
        self.renewed = False
        """Whether the last request was refused for its token, and there is a new one."""

    @property
    def session_url(self) -> str | None:
        """The address of the session; None without one."""
        return self._session.url if self._session is not None else None

    @property
    def min_piece_bytes(self) -> int:
        """The least size that the registry announced for a piece that is not the last."""
        return self._session.min_chunk_bytes if self._session is not None else 0

    async def open(self, size: int | None) -> bool:
        """True: the repository has the blob, mounted now or there before. False: a session is open.

        At first, a session that was left open is used if the registry has up to `size` bytes in it; it is cancelled
        where it has none, or `size` is None.
        """
        if self._place.session is not None and self._session is None:
            self._session = UploadSession(self._place.session)
            kept = None if size is None else await self.ask()
            if size is not None and kept is not None and 0 < kept <= size:
                self.kept = kept
                return False
            await self.cancel()
        self.kept = 0
        place, endpoint, capabilities = self._place, self.endpoint, self._capabilities
        other = place.mount_from if place.mounts and capabilities.known(endpoint, MOUNTS) is not False else None
        answer, asked_itself = None, False
        if other is not None:
            answer = await self._start(other)
        elif capabilities.known(endpoint, MOUNTS_FROM_ITSELF) is not False:
            answer, asked_itself = await self._start(place.repository.name), True
        elif not self._fresh.expect((place,)) and await self.has_blob():
            return True
        refused = answer is None
        answer = answer or await self._start(None)
        mounted = isinstance(answer, Mounted)
        if other is not None:
            capabilities.mount_tried(endpoint, other, self._digest, went=mounted)
        elif asked_itself and (mounted or refused):  # a session may mean that the blob is not there
            capabilities.learn(endpoint, MOUNTS_FROM_ITSELF, value=mounted)
        if isinstance(answer, Mounted):
            self.arrival_without_bytes = Arrival.MOUNTED if other is not None else Arrival.PRESENT
            return True
        self._session = answer
        return False

    async def _start(self, mount_from: str | None) -> Mounted | UploadSession | None:
        """Ask for a mount from that repository, or only for a session. None where the mount was refused, other than by
        a session, as the specification has it.
        """
        endpoint, repository = self.endpoint, self._place.repository
        mount = None if mount_from is None else self._digest
        request = build_start_upload(endpoint, repository, mount=mount, from_name=mount_from, from_scope=True)
        try:
            response = await self._client.ask(request, endpoint, origin=Origin.DESTINATION)
        except AuthenticationError:
            if mount is None:
                raise
            return None  # of the mount, or of reading the other repository: the plain request shows it
        if mount is not None and response.status in _MOUNT_REFUSED:
            return None
        if response.status not in _OPENED:
            raise self._client.failure(response, request, endpoint, Origin.DESTINATION)
        return parse_start_upload(response, request.url)

    async def ask(self) -> int | None:
        """How many bytes the registry has of the session; None where it is gone, or the registry does not say."""
        assert self._session is not None
        endpoint = self.endpoint
        request = build_get_upload(endpoint, self._place.repository, self._session)
        try:
            response = await self._client.exchange(request, endpoint, origin=Origin.DESTINATION)
        except AuthenticationError:
            return None
        if response.status in _GONE:
            return None
        if response.status not in _STATUSES:
            raise self._client.failure(response, request, endpoint, Origin.DESTINATION)
        status = parse_upload_status(response, request.url)
        self._session = status.session
        return status.received_bytes

    async def has_blob(self) -> bool:
        """Whether the repository has the blob, by HEAD."""
        endpoint = self.endpoint
        request = build_head_blob(endpoint, self._place.repository, self._digest)
        try:
            response = await self._client.exchange(request, endpoint, origin=Origin.DESTINATION)
        except AuthenticationError:
            return False  # Alibaba Cloud's registry says so to some who may push
        return response.status == _OK

    async def put(self, sender: Sender | SmallBlobSender, size: int) -> None:
        """Send what is left of the `size` bytes; returns when the registry has committed the blob."""
        assert self._session is not None
        endpoint, repository = self.endpoint, self._place.repository
        request = build_put_upload(endpoint, repository, self._session, self._digest, size, offset=sender.sent)
        parse_put_upload(await self._send(request, sender, size, _COMMITTED), self._digest)
        self._capabilities.brought(endpoint, repository.name, self._digest)

    async def patch(self, sender: Sender | SmallBlobSender, end: int, *, alone: bool) -> None:
        """Send a piece, which ends at byte `end`; with `alone` over a connection of its own."""
        assert self._session is not None
        request = build_patch_upload(self.endpoint, self._place.repository, self._session, sender.sent, end)
        response = await self._send(request, sender, end, _TAKEN, alone=alone)
        self._session = parse_patch_upload(response, request.url)

    async def cancel(self) -> None:
        """Tell the registry that the session will not be used; failures do not matter, since it expires."""
        endpoint = self.endpoint
        if self._session is None or not endpoint.profile.cancels_uploads:
            return
        if self._client.throttle.wait_s(endpoint.registry, asyncio.get_running_loop().time()):
            return  # it asked for a pause
        request = build_cancel_upload(endpoint, self._place.repository, self._session)
        exchange = self._client.exchange(request, endpoint, origin=Origin.DESTINATION)
        with contextlib.suppress(SyncError, asyncio.TimeoutError):
            await asyncio.wait_for(exchange, CANCEL_TIMEOUT_S)

    async def _send(
        self,
        request: Request,
        sender: Sender | SmallBlobSender,
        end: int,
        accepted: tuple[int, ...],
        *,
        alone: bool = False,
    ) -> Response:
        """Send `request` with the bytes from where `sender` is to byte `end`."""
        self.renewed = False
        client, endpoint = self._client, self.endpoint
        own = may_carry_credentials(endpoint.base_url, request.url)
        authorization = await client.admit(request, endpoint) if own else None
        response = await self._exchange(request, authorization, sender, end, alone=alone)
        if response.status in accepted:
            return response
        error = client.failure(response, request, endpoint, Origin.DESTINATION)
        if response.status == _UNAUTHORIZED and own:
            # The token ran out under way. Whether the registry has taken bytes is not known: it has to be asked.
            challenges = response.headers.get_all("WWW-Authenticate")
            await client.authorizer.renew(endpoint, self._place.repository, request.scopes, authorization, challenges)
            self.renewed = True
            raise error.changed(retryable=True)
        raise error

    async def _exchange(
        self, request: Request, authorization: str | None, sender: Sender | SmallBlobSender, end: int, *, alone: bool
    ) -> Response:
        """The answer, whatever its status; a successful one has come after the last byte.

        With `alone` it has a connection of its own (CURLOPT_FRESH_CONNECT, CURLOPT_FORBID_REUSE).
        """
        endpoint, body, lines, answered_at = self.endpoint, bytearray(), list[bytes](), 0

        def take_line(line: bytes) -> None:
            nonlocal answered_at
            lines.append(line)
            if line.startswith(b"HTTP/"):
                answered_at = sender.sent  # libcurl goes on sending after an early answer that is no error

        handle = self._client.transport.handles.take(request, endpoint, authorization, streamed=True)
        easy = handle.easy
        easy.setopt(pycurl.HEADERFUNCTION, take_line)
        easy.setopt(pycurl.WRITEFUNCTION, lambda chunk: body.extend(chunk[: MAX_ANSWER_BYTES - len(body)]))
        easy.setopt(pycurl.FRESH_CONNECT, alone)
        easy.setopt(pycurl.FORBID_REUSE, alone)
        set_upload(easy, end - sender.sent, sender.send, sender.rewind)
        code, words = await self._transfer(
            handle,
            request,
            endpoint,
            lambda metered: easy.setopt(pycurl.READFUNCTION, metered.sending(sender.send)),
        )
        head = parse_head(lines)
        if head is not None and head[0] not in _SUCCESSES:
            return Response(*head, bytes(body), request.url)
        if self._why_broken_off is not None:
            raise self._why_broken_off
        if head is None and not code:
            code, words = CUT_HEAD
        if code or head is None:
            raise transport_error(code, words, request, Origin.DESTINATION, endpoint.network)
        if answered_at != end:
            raise ProtocolViolation(
                f"{request.line} answered {head[0]} before the last byte was sent",
                origin=Origin.DESTINATION,
                retryable=True,
            )
        return Response(*head, bytes(body), request.url)


class StreamFeed(Value, frozen=True):
    """The source of the bytes for one destination: `sender` hands them to libcurl, `size` is that of the whole blob.

    `seek(position)` moves the sender to `position`; False where the bytes from there on are lost. `flowing()` returns
    when the sender has something to send, or has sent everything and all of it was verified.
    """

    sender: Sender
    size: int
    seek: Callable[[int], bool]
    flowing: Callable[[], Awaitable[None]]


class Sending:
    """Sends to one session of `upload` what `feed` gives; in pieces above `pieces_above` bytes (None: not at first).

    It begins with one PUT or with pieces (PATCH). When that breaks off, the session is asked how much it has, and only
    the rest is sent, never twice to the same address. Where the session is gone with all it had, a new one gets the
    blob in pieces, each over a connection of its own and shorter than what the last one let through, so that the next
    cut costs one piece. The capabilities of the registry decide: one that keeps nothing is not asked again, one that
    refuses pieces gets none. `Resumption` bounds the tries since the last progress.

    `on_session` is called with each new address of the session, `on_broken` with each break after which it is resumed.
    """

    def __init__(
        self,
        upload: Upload,
        feed: StreamFeed,
        context: WorkerContext,
        *,
        pieces_above: int | None,
        on_session: Callable[[], None],
        on_broken: Callable[[SyncError], None],
    ) -> None:
        self._upload = upload
        self._feed = feed
        self._capabilities = context.capabilities
        self._resumption = Resumption(context.policy, context.chance, context.clock)
        self._on_session = on_session
        self._on_broken = on_broken
        self._profile = upload.endpoint.profile
        self._piece_bytes: int | None = None
        self._alone = False
        self._begun_at = 0
        self._cut_after = 0
        self._too_large = False
        if self._known(TAKES_PIECES) is False:
            return
        if not self._capabilities.takes_whole(upload.endpoint, feed.size):
            self._take_small_pieces()
        elif pieces_above is not None and feed.size > pieces_above:
            self._piece_bytes = self._profile.piece_bytes

    async def run(self) -> None:
        """Returns when the registry has the blob; raises the `SyncError` that prevented it."""
        while True:
            try:
                await self._feed.flowing()
                self._begun_at = self._feed.sender.sent
                if self._piece_bytes is None:
                    self._feed.sender.aim(self._feed.size)
                    await self._upload.put(self._feed.sender, self._feed.size)
                else:
                    await self._send_pieces(self._piece_bytes)
            except SyncError as error:  # noqa: PERF203 - each break is one of its own
                sent = self._feed.sender.sent - self._begun_at
                self._cut_after = sent if isinstance(error, TransportError) else 0
                if await self._go_on(self._choose_form(error)):
                    return
            else:
                return

    async def _send_pieces(self, piece_bytes: int) -> None:
        sender, size = self._feed.sender, self._feed.size
        piece_bytes = max(piece_bytes, self._upload.min_piece_bytes, self._profile.least_piece_bytes)
        while sender.sent < size:
            await self._feed.flowing()
            self._begun_at = sender.sent
            end = min(size, sender.sent + piece_bytes)
            sender.aim(end)
            await self._upload.patch(sender, end, alone=self._alone)
            self._resumption.advanced_to(sender.sent, size)
            self._on_session()
        await self._feed.flowing()
        sender.aim(size)
        await self._upload.put(sender, size)

    async def _go_on(self, error: SyncError) -> bool:
        """Prepare to continue after `error`; True where the registry has the whole blob after all."""
        lost = _says_lost(error)
        while True:
            pause = self._resumption.pause_s(error)
            self._on_broken(error)
            await asyncio.sleep(pause)
            try:
                return await (self._begin_anew(error) if lost else self._resume(error))
            except SyncError as again:
                if again is error or not again.retryable:
                    raise
                error = again

    async def _resume(self, error: SyncError) -> bool:
        sent = self._feed.sender.sent
        was_cut = isinstance(error, TransportError) and self._begun_at < sent < self._feed.size
        if was_cut and self._known(KEEPS_PARTIAL) is False:
            return await self._begin_anew(error)
        kept = await self._upload.ask()
        if kept is None or kept > sent:  # it cannot have more
            if was_cut and self._cut_after >= self._profile.least_piece_bytes:
                self._learn(KEEPS_PARTIAL, value=False)
            return await self._begin_anew(error)
        if kept > self._begun_at:
            self._learn(KEEPS_PARTIAL, value=True)
        if not self._feed.seek(kept):
            raise error
        self._on_session()
        self._resumption.advanced_to(kept, self._feed.size)
        return False

    async def _begin_anew(self, error: SyncError) -> bool:
        feed = self._feed
        if feed.sender.sent == feed.size and await self._upload.has_blob():
            return True  # only the answer was lost
        await self._upload.cancel()
        if await self._upload.open(None):
            return True
        self._on_session()
        if not feed.seek(0):
            raise error
        if self._cut_after and self._known(TAKES_PIECES) is not False:
            self._alone = True
            most = self._piece_bytes or self._profile.piece_bytes
            self._piece_bytes = max(self._profile.least_piece_bytes, min(self._cut_after // 4, most))
        return False

    def _choose_form(self, error: SyncError) -> SyncError:
        """Change between one PUT and pieces where the form was refused; return `error`, which is retryable then."""
        if not isinstance(error, RegistryError) or (error.retryable and not _says_damaged(error)):
            return error
        if self._piece_bytes is None:
            if error.status == _TOO_LARGE and self._known(TAKES_PIECES) is not False:
                self._capabilities.refused_whole(self._upload.endpoint, self._feed.size)
                self._take_small_pieces()
                return error.changed(retryable=True)
        elif self._too_large and error.status == _TOO_LARGE:
            can_shrink = self._piece_bytes > self._profile.least_piece_bytes
            self._piece_bytes = self._profile.least_piece_bytes
            return error.changed(retryable=can_shrink)
        elif error.status in _PIECES_REFUSED:
            self._learn(TAKES_PIECES, value=False)
            self._piece_bytes, self._alone = None, False
            return error.changed(retryable=True)
        return error

    def _take_small_pieces(self) -> None:
        self._piece_bytes = max(TOO_LARGE_PIECE_BYTES, self._profile.least_piece_bytes)
        self._too_large = True

    def _known(self, fact: str) -> bool | None:
        return self._capabilities.known(self._upload.endpoint, fact)

    def _learn(self, fact: str, *, value: bool) -> None:
        self._capabilities.learn(self._upload.endpoint, fact, value)


def _says_damaged(error: SyncError) -> bool:
    """Whether the registry says that it got other bytes than were sent."""
    return isinstance(error, RegistryError) and not {"DIGEST_INVALID", "SIZE_INVALID"}.isdisjoint(error.codes)


def _says_lost(error: SyncError) -> bool:
    """Whether the session is lost, so that it need not be asked."""
    if isinstance(error, (IntegrityError, ProtocolViolation)):
        return True
    return isinstance(error, RegistryError) and error.status in _CLIENT_ERRORS and error.status not in _PASSING
