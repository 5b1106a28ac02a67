"""One request, one answer: whole bodies in memory, bounded. No tokens, no redirects, no second try (`client.py` has
those).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.net.curl_errors import transport_error
from image_syncer.net.handles import AnswerHead, HandlePool, set_request
from image_syncer.registry import Response

if TYPE_CHECKING:
    from image_syncer.net.multi import CurlDriver
    from image_syncer.registry import Endpoint, Request

__all__ = ["Timeouts", "Transport"]

MAX_BODY_BYTES = 8 * 2**20
"""Manifests have up to 4 MiB, tag lists of registries that ignore paging some more; a bound against hostile servers."""


class Timeouts:
    """Seconds: to connect (with TLS), without any byte while we wait (`stall_s`), and for one small request in all."""

    __slots__ = ("connect_s", "request_s", "stall_s")

    def __init__(self, *, connect_s: float = 15.0, stall_s: float = 60.0, request_s: float = 300.0) -> None:
        self.connect_s = connect_s
        self.stall_s = stall_s
        self.request_s = request_s


class Transport:
    """Sends requests over the process's multi handle, and counts them by their kind in `requests`.

    Where the driver has a bound of connections, requests beyond it wait here: inside libcurl their time would run.
    """

    def __init__(self, driver: CurlDriver, timeouts: Timeouts) -> None:
        self.driver = driver
        self.timeouts = timeouts
        self.handles = HandlePool()
        self.requests: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(driver.connections) if driver.connections else contextlib.nullcontext()

    async def perform(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        authorization: str | None = None,
        origin: Origin = Origin.LOCAL,
    ) -> Response:
        """Send `request` once; any status is an answer. Raises TransportError, or ProtocolViolation for a huge body."""
        async with self._slots:
            return await self._perform(request, endpoint, authorization, origin)

    async def _perform(
        self, request: Request, endpoint: Endpoint, authorization: str | None, origin: Origin
    ) -> Response:
        self.requests[request.operation.value] += 1
        easy = self.handles.take()
        head = AnswerHead()
        body = bytearray()

        def receive(chunk: bytes) -> int | None:
            if len(body) + len(chunk) > MAX_BODY_BYTES:
                return -1
            body.extend(chunk)
            return None

        set_request(
            easy,
            request,
            endpoint,
            head,
            authorization=authorization,
            connect_timeout_s=self.timeouts.connect_s,
        )
        easy.setopt(pycurl.WRITEFUNCTION, receive)
        easy.setopt(pycurl.TIMEOUT_MS, int(self.timeouts.request_s * 1000))
        easy.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        easy.setopt(pycurl.LOW_SPEED_TIME, max(1, int(self.timeouts.stall_s)))
        try:
            code, words = await self.driver.perform(easy)
        finally:
            self.handles.give_back(easy)
        if code == pycurl.E_WRITE_ERROR:
            raise ProtocolViolation(
                f"{request.line} answered with more than {MAX_BODY_BYTES} bytes",
                origin=origin,
                operation=request.operation.value,
                repository=str(request.repository) if request.repository else None,
                request=request.line,
                status=head.status,
            )
        if code:
            raise transport_error(code, words, request, origin)
        return Response(head.status, head.headers, bytes(body), request.url)
