"""One request that carries a part of a blob to a destination: PUT or PATCH, its body fed from a sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import Origin, ProtocolViolation, SyncError
from image_syncer.net import AnswerHead, judge_end, set_request, set_upload, transport_error
from image_syncer.registry import Response
from image_syncer.transfer import SmallBlobSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.net import Metered, Transport
    from image_syncer.registry import Endpoint, Request
    from image_syncer.transfer import Sender

__all__ = ["UploadRequest"]

MAX_ANSWER_BYTES = 64 * 1024
_SUCCESSES = range(200, 300)


class UploadRequest:
    """Sends `request`, whose body is the part of a blob from where `sender` is to byte `end`."""

    def __init__(
        self, transport: Transport, request: Request, endpoint: Endpoint, sender: Sender | SmallBlobSender, end: int
    ) -> None:
        self._transport = transport
        self._request = request
        self._endpoint = endpoint
        self._sender = sender
        self._end = end
        self._answer = bytearray()
        self._sent_at_answer: list[int] = []
        self._why_broken_off: SyncError | None = None
        self._metered: Metered | None = None
        self._easy: pycurl.Curl | None = None

    @property
    def easy(self) -> pycurl.Curl | None:
        """The handle, while the request is under way."""
        return self._easy

    @property
    def held_back(self) -> bool:
        """Whether it pauses because no more bytes a second are allowed."""
        return self._metered is not None and self._metered.held_back

    def break_off(self, error: SyncError) -> None:
        """End the request with `error`, as if the destination had."""
        if self._easy is not None:
            self._why_broken_off = error
            self._transport.driver.fail(self._easy, pycurl.E_ABORTED_BY_CALLBACK, "broken off")

    async def perform(self, authorization: str | None, *, alone: bool = False) -> Response:
        """The answer, whatever its status; a successful one has come after the last byte. Raises `SyncError`.

        With `alone` it has a connection of its own (CURLOPT_FRESH_CONNECT, CURLOPT_FORBID_REUSE).
        """
        request, transport, sender = self._request, self._transport, self._sender
        length = self._end - sender.sent
        sender.aim(self._end)
        transport.requests[request.operation.value] += 1
        # libcurl goes on sending after an early answer that is no error
        head = AnswerHead(lambda: self._sent_at_answer.append(sender.sent))
        easy = self._easy = transport.handles.take()
        small = isinstance(sender, SmallBlobSender)

        def metered_send() -> Callable[[int], memoryview | bytes | int]:
            self._metered = transport.meter(easy, self._endpoint.registry, sending=True, small=small)
            return sender.send if self._metered is None else self._metered.sending(sender.send)

        def begin_metering() -> None:
            easy.setopt(pycurl.READFUNCTION, metered_send())

        try:
            set_request(
                easy,
                request,
                self._endpoint,
                head,
                authorization=authorization,
                connect_timeout_s=transport.timeouts.connect_s,
            )
            set_upload(easy, length, metered_send(), sender.rewind)
            if alone:
                easy.setopt(pycurl.FRESH_CONNECT, 1)
                easy.setopt(pycurl.FORBID_REUSE, 1)
            easy.setopt(pycurl.WRITEFUNCTION, self._receive)
            if self._metered is None and not small:
                transport.unmetered.add(begin_metering)
            code, words = await transport.transfer(easy, request, self._endpoint, Origin.DESTINATION)
        finally:
            transport.unmetered.discard(begin_metering)
            metered, self._easy, self._metered = self._metered, None, None
            if metered is not None:
                metered.close()
            transport.handles.give_back(easy)
        response = Response(head.status, head.headers, bytes(self._answer), request.url)
        if head.complete and head.status not in _SUCCESSES:
            return response
        if self._why_broken_off is not None:
            raise self._why_broken_off
        code, words = judge_end(code, words, whole=head.complete)
        if code:
            raise transport_error(code, words, request, Origin.DESTINATION, self._endpoint.network)
        if self._sent_at_answer != [self._end]:
            raise ProtocolViolation(
                f"{request.line} answered {head.status} before the last byte was sent",
                origin=Origin.DESTINATION,
                retryable=True,
            )
        return response

    def _receive(self, chunk: bytes) -> None:
        """CURLOPT_WRITEFUNCTION."""
        self._answer.extend(chunk[: MAX_ANSWER_BYTES - len(self._answer)])
