"""The upload half of a pipe: a session (or a mount), then one PUT with Content-Length, fed from a stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import AuthenticationError, Origin, ProtocolViolation, SyncError
from image_syncer.net import AnswerHead, judge_end, set_request, set_upload, transport_error
from image_syncer.planning import Arrival
from image_syncer.registry import (
    Mounted,
    Response,
    UploadSession,
    build_cancel_upload,
    build_put_upload,
    build_start_upload,
    may_carry_credentials,
    parse_put_upload,
    parse_start_upload,
)

if TYPE_CHECKING:
    from image_syncer.net import RegistryClient
    from image_syncer.oci import Digest
    from image_syncer.registry import Request
    from image_syncer.transfer import ParcelSender, Sender
    from image_syncer.worker.messages import TargetPlace

__all__ = ["Upload"]

MAX_ANSWER_BYTES = 64 * 1024
CANCEL_TIMEOUT_S = 5.0
"""How long the DELETE of a session may take: it is a courtesy."""
_OPENED = (201, 202)
_COMMITTED = (200, 201, 204)
_MOUNT_REFUSED = (400, 401, 403, 404, 405)
"""What registries answer to a mount that they do not know, or not between these repositories (instead of 202)."""
_UNAUTHORIZED = 401


class Upload:
    """Brings one blob into one repository."""

    def __init__(self, client: RegistryClient, place: TargetPlace, digest: Digest) -> None:
        self._client = client
        self._place = place
        self._digest = digest
        self._session: UploadSession | None = None
        self.renewed = False
        """Whether the last `send` was refused for its token, and there is a new one."""
        self.easy: pycurl.Curl | None = None

    @property
    def registry(self) -> str:
        """The destination registry."""
        return self._place.endpoint.registry

    @property
    def arrival_without_bytes(self) -> Arrival:
        """How the blob got there, where `open` finds that it is there."""
        return Arrival.MOUNTED if self._place.mounts else Arrival.PRESENT

    async def open(self) -> bool:
        """True: the repository has the blob (mounted, or since long). False: a session stands. Raises `SyncError`."""
        endpoint, repository = self._place.endpoint, self._place.repository
        mount = build_start_upload(
            endpoint, repository, mount=self._digest, from_name=self._place.mount_from, from_scope=True
        )
        try:
            response = await self._client.exchange(mount, endpoint, origin=Origin.DESTINATION)
            refused = response.status in _MOUNT_REFUSED
        except AuthenticationError:
            refused = True  # as a mount, or for the right to read the other repository: the plain request tells
        if refused:
            plain = build_start_upload(endpoint, repository)
            response = await self._client.exchange(plain, endpoint, origin=Origin.DESTINATION)
            opened: Request = plain
        else:
            opened = mount
        if response.status not in _OPENED:
            raise self._client.failure(response, opened, endpoint, Origin.DESTINATION)
        answer = parse_start_upload(response, opened.url)
        if isinstance(answer, Mounted):
            return True
        self._session = answer
        return False

    async def send(self, sender: Sender | ParcelSender, size: int) -> None:
        """PUT the `size` bytes that `sender` hands out; returns when the registry has committed them."""
        assert self._session is not None
        self.renewed = False
        endpoint, transport = self._place.endpoint, self._client.transport
        request = build_put_upload(endpoint, self._place.repository, self._session, self._digest, size)
        authorization = await self._client.authorization_for(request, endpoint)
        transport.requests[request.operation.value] += 1
        sent_at_answer: list[int] = []  # libcurl goes on sending after an early answer that is no error
        head = AnswerHead(lambda: sent_at_answer.append(sender.sent))
        answer = bytearray()

        def receive(chunk: bytes) -> None:
            answer.extend(chunk[: MAX_ANSWER_BYTES - len(answer)])

        easy = self.easy = transport.handles.take()
        try:
            set_request(
                easy,
                request,
                endpoint,
                head,
                authorization=authorization,
                connect_timeout_s=transport.timeouts.connect_s,
            )
            set_upload(easy, size, sender.send, sender.rewind)
            easy.setopt(pycurl.WRITEFUNCTION, receive)
            code, words = await transport.driver.perform(easy)
        finally:
            self.easy = None
            transport.handles.give_back(easy)
        if head.complete and head.status not in _COMMITTED:
            response = Response(head.status, head.headers, bytes(answer), request.url)
            raise await self._refused(response, request, authorization)
        code, words = judge_end(code, words, whole=head.complete)
        if code:
            raise transport_error(code, words, request, Origin.DESTINATION)
        if sent_at_answer != [size]:
            raise ProtocolViolation(
                f"{request.line} answered {head.status} before the last byte was sent",
                origin=Origin.DESTINATION,
                retryable=True,
            )
        parse_put_upload(Response(head.status, head.headers, bytes(answer), request.url), self._digest)

    async def cancel(self) -> None:
        """Tell the registry that the session will not be used; whether it listens does not matter."""
        if self._session is None:
            return
        endpoint = self._place.endpoint
        if self._client.throttle.wait_s(endpoint.registry, asyncio.get_running_loop().time()):
            return  # it asked to be left alone
        request = build_cancel_upload(endpoint, self._place.repository, self._session)
        exchange = self._client.exchange(request, endpoint, origin=Origin.DESTINATION)
        try:
            await asyncio.wait_for(exchange, CANCEL_TIMEOUT_S)
        except (SyncError, asyncio.TimeoutError):
            return  # it will expire by itself

    async def _refused(self, response: Response, request: Request, authorization: str | None) -> SyncError:
        endpoint = self._place.endpoint
        error = self._client.failure(response, request, endpoint, Origin.DESTINATION)
        if response.status == _UNAUTHORIZED and may_carry_credentials(endpoint.base_url, request.url):
            # A token that ran out under way: a stream cannot be sent twice, so the blob starts over with a new one.
            challenges = response.headers.get_all("WWW-Authenticate")
            await self._client.authorizer.renew(
                endpoint, self._place.repository, request.scopes, authorization, challenges
            )
            error.retryable = self.renewed = True
        return error
