"""An upload: what can be said to a destination about one blob. A session (or a mount), its bytes in one PUT or in
pieces, how far it came, and that it is given up. What is said when is for `sending.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import AuthenticationError, Origin, SyncError
from image_syncer.planning import Arrival
from image_syncer.registry import (
    Mounted,
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
from image_syncer.registry.capabilities import MOUNTS, MOUNTS_FROM_ITSELF
from image_syncer.worker.upload_request import UploadRequest

if TYPE_CHECKING:
    import pycurl

    from image_syncer.net import RegistryClient
    from image_syncer.oci import Digest
    from image_syncer.registry import Endpoint, Request, Response
    from image_syncer.transfer import Sender, SmallBlobSender
    from image_syncer.worker.context import WorkerContext
    from image_syncer.worker.messages import TargetPlace

__all__ = ["Upload"]

CANCEL_TIMEOUT_S = 5.0
"""How long the DELETE of a session may take: it is a courtesy."""
_OPENED = (201, 202)
_COMMITTED = (200, 201, 204)
_TAKEN = (201, 202, 204)
_STATUSES = (200, 202, 204)
_GONE = frozenset(range(400, 500)) - {408, 429, 499} | {501}
"""What is answered to a question about a session that is no more, or to any such question: it is only a question."""
_MOUNT_REFUSED = (400, 401, 403, 404, 405, 500, 501)
"""What registries answer to a mount that they do not know, fail at, or have not between these repositories (instead of
202). Where more than mounts fails, the plain request that follows tells."""
_OK = 200
_UNAUTHORIZED = 401


class Upload:
    """Brings one blob into one repository. Everything raises `SyncError` where it fails.

    `kept` is how many bytes the session had that another worker, or another run, had left open; 0 for a new one.
    """

    def __init__(self, client: RegistryClient, place: TargetPlace, digest: Digest, context: WorkerContext) -> None:
        self._client = client
        self._place = place
        self._digest = digest
        self._capabilities = context.capabilities
        self._fresh = context.fresh
        self._mounted = False
        self._session: UploadSession | None = None
        self._request: UploadRequest | None = None
        self.kept = 0
        self.renewed = False
        """Whether the last request was refused for its token, and there is a new one."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the destination registry is."""
        return self._place.endpoint

    @property
    def arrival_without_bytes(self) -> Arrival:
        """How the blob got there, where `open` finds that it is there."""
        return Arrival.MOUNTED if self._mounted else Arrival.PRESENT

    @property
    def easy(self) -> pycurl.Curl | None:
        """The handle of a request with bytes of the blob, while one is under way."""
        return self._request.easy if self._request is not None else None

    @property
    def held_back(self) -> bool:
        """Whether such a request pauses because no more bytes a second are allowed."""
        return self._request is not None and self._request.held_back

    @property
    def session_url(self) -> str | None:
        """Where the upload goes on; None without a session."""
        return self._session.url if self._session is not None else None

    @property
    def min_piece_bytes(self) -> int:
        """What a piece that is not the last must have, by the registry's word."""
        return self._session.min_chunk_bytes if self._session is not None else 0

    def break_off(self, error: SyncError) -> None:
        """End the request with bytes that is under way with `error`, as if the destination had."""
        if self._request is not None:
            self._request.break_off(error)

    async def open(self, size: int) -> bool:
        """True: the repository has the blob of `size` bytes (mounted, or since long). False: a session stands.

        One that was left open is used, if the registry still has its bytes.
        """
        if self._place.session is not None and self._session is None:
            self._session = UploadSession(self._place.session)
            kept = await self.ask()
            if kept is not None and 0 < kept <= size:
                self.kept = kept
                return False
            await self.cancel()
        return await self.open_new()

    async def open_whole(self) -> bool:
        """The same for a blob that is sent whole, or not at all: an older session is given up."""
        if self._place.session is not None and self._session is None:
            self._session = UploadSession(self._place.session)
            await self.cancel()
        return await self.open_new()

    async def open_new(self) -> bool:
        """The same, without a look at an older session."""
        self.kept = 0
        place, endpoint, capabilities = self._place, self._place.endpoint, self._capabilities
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
            self._mounted = other is not None
            return True
        self._session = answer
        return False

    async def _start(self, mount_from: str | None) -> Mounted | UploadSession | None:
        """Ask for a mount from that repository, or only for a session; None where the mount was refused, and not as the
        specification has it, by a session.
        """
        endpoint, repository = self._place.endpoint, self._place.repository
        mount = None if mount_from is None else self._digest
        request = build_start_upload(endpoint, repository, mount=mount, from_name=mount_from, from_scope=True)
        try:
            response = await self._client.ask(request, endpoint, origin=Origin.DESTINATION)
        except AuthenticationError:
            if mount is None:
                raise
            return None  # as a mount, or for the right to read the other repository: the plain request tells
        if mount is not None and response.status in _MOUNT_REFUSED:
            return None
        if response.status not in _OPENED:
            raise self._client.failure(response, request, endpoint, Origin.DESTINATION)
        return parse_start_upload(response, request.url)

    async def ask(self) -> int | None:
        """How many bytes the session has, by its registry; None where it is gone, or the registry does not say."""
        assert self._session is not None
        endpoint = self._place.endpoint
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
        endpoint = self._place.endpoint
        request = build_head_blob(endpoint, self._place.repository, self._digest)
        try:
            response = await self._client.exchange(request, endpoint, origin=Origin.DESTINATION)
        except AuthenticationError:
            return False  # Alibaba Cloud's registry says so to some who may push
        return response.status == _OK

    async def put(self, sender: Sender | SmallBlobSender, size: int) -> None:
        """Send what is left of the `size` bytes; returns when the registry has committed the blob."""
        assert self._session is not None
        place, offset = self._place, sender.sent
        request = build_put_upload(place.endpoint, place.repository, self._session, self._digest, size, offset=offset)
        response = await self._send(request, sender, size, _COMMITTED)
        parse_put_upload(response, self._digest)
        self._capabilities.brought(place.endpoint, place.repository.name, self._digest)

    async def patch(self, sender: Sender | SmallBlobSender, end: int, *, alone: bool) -> None:
        """Send a piece, which ends at byte `end`; with `alone` over a connection of its own."""
        assert self._session is not None
        place = self._place
        request = build_patch_upload(place.endpoint, place.repository, self._session, sender.sent, end)
        response = await self._send(request, sender, end, _TAKEN, alone=alone)
        self._session = parse_patch_upload(response, request.url)

    async def cancel(self) -> None:
        """Tell the registry that the session will not be used; whether it listens does not matter."""
        if self._session is None:
            return
        endpoint = self._place.endpoint
        if not endpoint.profile.cancels_uploads:
            return
        if self._client.throttle.wait_s(endpoint.registry, asyncio.get_running_loop().time()):
            return  # it asked to be left alone
        request = build_cancel_upload(endpoint, self._place.repository, self._session)
        exchange = self._client.exchange(request, endpoint, origin=Origin.DESTINATION)
        try:
            await asyncio.wait_for(exchange, CANCEL_TIMEOUT_S)
        except (SyncError, asyncio.TimeoutError):
            return  # it will expire by itself

    async def _send(
        self,
        request: Request,
        sender: Sender | SmallBlobSender,
        end: int,
        wanted: tuple[int, ...],
        *,
        alone: bool = False,
    ) -> Response:
        self.renewed = False
        endpoint = self._place.endpoint
        if may_carry_credentials(endpoint.base_url, request.url):
            await self._client.wait_for_turn(endpoint, request.operation)
        authorization = await self._client.authorization_for(request, endpoint)
        self._request = UploadRequest(self._client.transport, request, endpoint, sender, end)
        try:
            response = await self._request.perform(authorization, alone=alone)
        finally:
            self._request = None
        if response.status in wanted:
            return response
        error = self._client.failure(response, request, endpoint, Origin.DESTINATION)
        if response.status == _UNAUTHORIZED and may_carry_credentials(endpoint.base_url, request.url):
            # A token that ran out under way. Whether the registry has taken bytes nobody knows: that is to be asked.
            challenges = response.headers.get_all("WWW-Authenticate")
            await self._client.authorizer.renew(
                endpoint, self._place.repository, request.scopes, authorization, challenges
            )
            error.retryable = self.renewed = True
        raise error
