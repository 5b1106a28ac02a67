"""One answer to the GET of a blob: its head decides who takes its body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import SyncError
from image_syncer.net.curl_errors import judge_end, transport_error
from image_syncer.net.handles import AnswerHead
from image_syncer.registry import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.errors import Origin
    from image_syncer.registry import Endpoint, Request

__all__ = ["BlobAnswer"]

MAX_REFUSAL_BYTES = 64 * 1024
"""What is kept of the body of an answer that is not the blob, to say why."""


class BlobAnswer:
    """`take` is called from inside libcurl when the head is there, and says who takes the body, as a write callback
    does, or raises the `SyncError` that is wrong with it; None: nobody, and the beginning of the body is kept, which
    says why.
    """

    def __init__(self, take: Callable[[AnswerHead], Callable[[memoryview], int | None] | None]) -> None:
        self._take = take
        self.head = AnswerHead(self._on_head)
        self.taker: Callable[[memoryview], int | None] | None = None
        """None where it is not the blob."""
        self.fault: SyncError | None = None
        """What `take` raised."""
        self._refusal = bytearray()
        self.receive: Callable[[memoryview], int | None] = self._receive
        """CURLOPT_WRITEFUNCTION; -1 ends the transfer."""

    def response(self, code: int, words: str, request: Request, origin: Origin, endpoint: Endpoint) -> Response:
        """What was answered, with the beginning of its body, where the transfer has ended with this CURLcode. Raises
        the error of a transfer that broke off.
        """
        if code == pycurl.E_WRITE_ERROR:
            code = 0  # more than the beginning of a refusal is not read
        code, words = judge_end(code, words, whole=self.head.complete)
        if code:
            raise transport_error(code, words, request, origin, endpoint.network)
        return Response(self.head.status, self.head.headers, bytes(self._refusal), request.url)

    def _on_head(self) -> None:
        try:
            self.taker = self._take(self.head)
        except SyncError as error:
            self.fault = error

    def _receive(self, chunk: memoryview) -> int | None:
        if self.taker is not None:
            return self.taker(chunk)
        if self.fault is not None:
            return -1  # a blob that is not the one: its body is not read
        if len(self._refusal) == MAX_REFUSAL_BYTES:
            return -1  # it may have no end
        self._refusal += chunk[: MAX_REFUSAL_BYTES - len(self._refusal)]
        return None
