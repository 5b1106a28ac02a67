"""The download half of a pipe: one GET, redirects and a renewed token included, its bytes handed to a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, Origin, SyncError
from image_syncer.net import AnswerHead, judge_end, set_download, set_request, transport_error
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Response,
    build_get_blob,
    content_length,
    follow_redirect,
    may_carry_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pycurl

    from image_syncer.net import RegistryClient
    from image_syncer.oci import Digest
    from image_syncer.registry import Request
    from image_syncer.transfer import Parcel, Stream
    from image_syncer.worker.messages import Place

__all__ = ["Download", "length_differs"]

MAX_REFUSAL_BYTES = 64 * 1024
"""What is kept of the body of an answer that is not the blob, to say why."""
_OK = 200
_UNAUTHORIZED = 401


class Download:
    """Asks `place` for a blob. `on_asked` is called when a request goes out, `begin(size)` from inside libcurl when the
    blob's first byte is about to come: it gives what takes the bytes. `size` is the Content-Length in bytes,
    or None.
    """

    def __init__(
        self,
        client: RegistryClient,
        place: Place,
        digest: Digest,
        *,
        on_asked: Callable[[], None],
        begin: Callable[[int | None], Stream | Parcel | None],
    ) -> None:
        self._client = client
        self._place = place
        self._digest = digest
        self._on_asked = on_asked
        self._begin = begin
        self._stream: Stream | Parcel | None = None
        self._refusal = bytearray()
        self._declined = False
        self.easy: pycurl.Curl | None = None

    async def run(self) -> None:
        """Returns when all bytes were handed over; raises the `SyncError` that kept them from it."""
        endpoint, repository = self._place.endpoint, self._place.repository
        request = build_get_blob(endpoint, repository, self._digest)
        renewed = False
        followed = 0
        while True:
            await self._client.wait_for_turn(endpoint)
            value = await self._client.authorization_for(request, endpoint)
            response = await self._transfer(request, value)
            if response is None:
                return
            if response.status in REDIRECT_STATUSES:
                request = follow_redirect(request, response, followed=followed, origin=Origin.SOURCE)
                followed += 1
            elif response.status == _UNAUTHORIZED and not renewed and self._owes(request):
                renewed = True
                challenges = response.headers.get_all("WWW-Authenticate")
                await self._client.authorizer.renew(endpoint, repository, request.scopes, value, challenges)
            else:
                raise self._client.failure(response, request, endpoint, Origin.SOURCE)

    def _owes(self, request: Request) -> bool:
        return may_carry_credentials(self._place.endpoint.base_url, request.url)

    async def _transfer(self, request: Request, authorization: str | None) -> Response | None:
        """None where the blob came to its end; the answer where it is something else."""
        transport = self._client.transport
        transport.requests[request.operation.value] += 1
        self._on_asked()
        self._refusal.clear()
        head = AnswerHead(lambda: self._on_head(head))
        easy = self.easy = transport.handles.take()
        try:
            set_request(
                easy,
                request,
                self._place.endpoint,
                head,
                authorization=authorization,
                connect_timeout_s=transport.timeouts.connect_s,
            )
            set_download(easy, self._taker())
            code, words = await transport.driver.perform(easy)
        finally:
            self.easy = None
            transport.handles.give_back(easy)
        stream = self._stream
        if stream is not None:
            self._conclude(stream, code, words, request)
            return None
        code, words = judge_end(code, words, whole=head.complete)
        if code:
            raise transport_error(code, words, request, Origin.SOURCE)
        return Response(head.status, head.headers, bytes(self._refusal), request.url)

    def _on_head(self, head: AnswerHead) -> None:
        if head.status == _OK:
            self._stream = self._begin(content_length(head.headers))
            self._declined = self._stream is None

    def _taker(self) -> Callable[[memoryview], int | None]:
        """Libcurl's write callback for one answer: who takes the bytes is decided with the first of them."""
        take: Callable[[memoryview], int | None] | None = None

        def receive(chunk: memoryview) -> int | None:
            nonlocal take
            if take is None:
                take = self._stream.receive if self._stream is not None else self._keep_refusal
            return take(chunk)

        return receive

    def _keep_refusal(self, chunk: memoryview) -> int | None:
        if self._declined:
            return -1  # a blob that is not the one: its body is not read
        if len(self._refusal) < MAX_REFUSAL_BYTES:
            self._refusal += chunk[: MAX_REFUSAL_BYTES - len(self._refusal)]
        return None

    def _conclude(self, stream: Stream | Parcel, code: int, words: str, request: Request) -> None:
        if stream.verified:
            return  # whatever came after the last byte does not matter
        if stream.fault is not None:
            raise stream.fault
        if code:
            raise transport_error(code, words, request, Origin.SOURCE)
        raise stream.fall_short()


def length_differs(digest: Digest, expected: int, actual: int) -> SyncError:
    """The error of a source whose Content-Length is not the size in the manifest; sizes in bytes."""
    return IntegrityError(
        f"the source announces {actual} bytes, the manifest names {expected}",
        origin=Origin.SOURCE,
        digest=digest,
        expected=f"{expected} bytes",
        actual=f"{actual} bytes",
        hint="The blob at the source is not the one that was pushed; push it there again.",
    )
