"""The download half of a pipe: its bytes are handed to a stream, whatever breaks on the way.

Each request is a GET with redirects and a renewed token. One that breaks off goes on where it was (`Range`, RFC 9110
section 14.2): the registry is asked again, since a signed address may have expired. Where ranges are not known, the
blob is read from its beginning, and what is there already is skipped.

The places where a blob can be had: mirrors in their order, of which whatever goes wrong is no more than a reason to
ask the next one, and then the registry itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import IntegrityError, Origin, ProtocolViolation, RegistryError, SyncError
from image_syncer.net import AnswerHead, BlobAnswer, set_download, set_request, transport_error
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Operation,
    Response,
    build_get_blob,
    content_length,
    follow_redirect,
    may_carry_credentials,
    parse_blob_range,
    say_whose,
)
from image_syncer.transfer import too_short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.net import Metered, RegistryClient
    from image_syncer.oci import Digest
    from image_syncer.planning.mirrors import Mirrors
    from image_syncer.registry import Endpoint, Request
    from image_syncer.transfer import Resumption, SmallBlob, Stream
    from image_syncer.worker.messages import Place

__all__ = ["BlobPlaces", "Download", "length_differs"]


class BlobPlaces:
    """Those of one blob; `mirrors` knows which of them failed lately."""

    def __init__(self, places: Sequence[Place], mirrors: Mirrors) -> None:
        self.here, *self.others = places
        """The one that is asked now, and those that are asked after it. Where there are none, it is the registry
        itself, and else a mirror.
        """
        self._mirrors = mirrors

    def pass_over(self) -> None:
        """Mirrors that failed lately are not asked."""
        now = asyncio.get_running_loop().time()
        while self.others and not self._mirrors.is_usable(self.here.endpoint.registry, now):
            self.here = self.others.pop(0)

    def leave(self, error: SyncError, *, wrong_bytes: bool) -> bool:
        """The place that was asked failed with `error`; whether another one is asked from now on. None is after the
        registry itself, nor where bytes that came were wrong: these are not begun again here, and who tries again asks
        no mirror.
        """
        if not self.others:
            return False
        registry = self.here.endpoint.registry
        self._mirrors.failed(registry, error, asyncio.get_running_loop().time())
        if wrong_bytes:
            error.hint = f"They came from the mirror {registry}, which is asked no more."
            return False
        self.here = self.others.pop(0)
        return True

    def came(self, size: int) -> None:
        """So many bytes of the blob came from this mirror."""
        self._mirrors.came(self.here.endpoint.registry, size)


MIRROR_TOKEN_S = 30.0
"""How long a mirror's token may take: then the next place is asked."""
_OK = 200
_PARTIAL_CONTENT = 206
_UNAUTHORIZED = 401
_RANGE_NOT_SATISFIABLE = 416


class Download:
    """Asks `places` for a blob: mirrors in their order, of which whatever goes wrong is no more than a reason to ask
    the next one, and then the registry itself. What has come stays, since the digest is the same.

    `on_asked` is called when a request goes out, `begin(size)` from inside libcurl when the blob's first byte is about
    to come: it gives what takes the bytes, or raises what is wrong with the `size` (the Content-Length in bytes, or
    None). `on_broken(error)` is told each time that it broke off and will go on. `small` says that the blob is taken
    whole.
    """

    def __init__(
        self,
        client: RegistryClient,
        places: Sequence[Place],
        digest: Digest,
        *,
        on_asked: Callable[[], None],
        begin: Callable[[int | None], Stream | SmallBlob],
        resumption: Resumption,
        on_broken: Callable[[SyncError], None] = lambda _error: None,
        small: bool = False,
    ) -> None:
        self._client = client
        self._places = BlobPlaces(places, client.mirrors)
        self._digest = digest
        self._on_asked = on_asked
        self._begin = begin
        self._resumption = resumption
        self._on_broken = on_broken
        self._small = small
        self._stream: Stream | SmallBlob | None = None
        self._knows_ranges = True
        self._again = False
        self._why_broken_off: SyncError | None = None
        self._skipped = 0
        self._metered: Metered | None = None
        self.easy: pycurl.Curl | None = None

    @property
    def progress(self) -> int:
        """A number that grows while bytes come: those of the blob that are there, and those that are read again."""
        return self._skipped + (self._stream.received if self._stream is not None else 0)

    @property
    def held_back(self) -> bool:
        """Whether it pauses because no more bytes a second are allowed."""
        return self._metered is not None and self._metered.held_back

    async def run(self) -> None:
        """Returns when all bytes were handed over; raises the `SyncError` that kept them from it."""
        while True:
            self._again = False
            self._places.pass_over()
            try:
                await self._ask()
            except SyncError as error:
                if self._again or self._leave_mirror(error):
                    continue
                await self._pause(error)
            else:
                if not self._again:
                    return

    def break_off(self, error: SyncError) -> None:
        """End the transfer that is under way with `error`, as if the source had."""
        if self.easy is not None:
            self._why_broken_off = error
            self._client.transport.driver.fail(self.easy, pycurl.E_ABORTED_BY_CALLBACK, "broken off")

    def halt(self) -> None:
        """No byte comes any more until `run` goes on, or is called again, at what the stream has received by then."""
        self._again = True
        if self.easy is not None:
            self._client.transport.driver.fail(self.easy, pycurl.E_ABORTED_BY_CALLBACK, "begun again")

    def _leave_mirror(self, error: SyncError) -> bool:
        """Whether `error` is that of a mirror, and another place is asked from now on."""
        if error is self._why_broken_off and not error.retryable:
            return False
        wrong_bytes = self._stream is not None and self._stream.fault is not None
        if not self._places.leave(error, wrong_bytes=wrong_bytes):
            return False
        self._knows_ranges = True
        return True

    async def _pause(self, error: SyncError) -> None:
        """Sleep until the download may go on; raises `error` where it may not."""
        stream = self._stream
        if stream is None or stream.fault is not None:
            raise error
        if isinstance(error, RegistryError) and error.status == _RANGE_NOT_SATISFIABLE:
            raise too_short(self._digest, stream.size, stream.received)
        if isinstance(error, ProtocolViolation) and self._knows_ranges:
            self._knows_ranges, error.retryable = False, True
        self._resumption.came_to(stream.received, stream.size)
        pause = self._resumption.pause_s(error)
        if pause is None:
            raise error
        self._on_broken(error)
        await asyncio.sleep(pause)

    async def _ask(self) -> None:
        endpoint, repository = self._places.here.endpoint, self._places.here.repository
        offset = self._stream.received if self._stream is not None and self._knows_ranges else 0
        request = build_get_blob(endpoint, repository, self._digest, offset=offset)
        if self._places.others:
            request = say_whose(request, self._places.others[-1].endpoint.registry)
        renewed = False
        followed = 0
        while not self._again:
            if self._owes(request):
                await self._client.wait_for_turn(endpoint, Operation.GET_BLOB)
            value = await self._authorization(request, endpoint)
            response = await self._transfer(request, value, offset)
            if response is None:
                return
            if response.status in REDIRECT_STATUSES:
                request = follow_redirect(
                    request, response, followed=followed, origin=Origin.SOURCE, allowed=endpoint.redirects
                )
                followed += 1
            elif response.status == _UNAUTHORIZED and not renewed and self._owes(request):
                renewed = True
                challenges = response.headers.get_all("WWW-Authenticate")
                await self._client.authorizer.renew(endpoint, repository, request.scopes, value, challenges)
            else:
                error = self._client.failure(response, request, endpoint, Origin.SOURCE)
                if self._places.others or not (self._owes(request) and self._client.waits_for(error, endpoint)):
                    raise error

    async def _authorization(self, request: Request, endpoint: Endpoint) -> str | None:
        authorization = self._client.authorization_for(request, endpoint)
        if not self._places.others:
            return await authorization
        try:
            return await asyncio.wait_for(authorization, MIRROR_TOKEN_S)
        except asyncio.TimeoutError:
            raise SyncError(f"the mirror {endpoint.registry} had no token in time", origin=Origin.SOURCE) from None

    def _is_halted(self) -> bool:
        return self._again

    def _owes(self, request: Request) -> bool:
        return may_carry_credentials(self._places.here.endpoint.base_url, request.url)

    async def _transfer(self, request: Request, authorization: str | None, offset: int) -> Response | None:
        """None where the blob came to its end, or is to be asked for anew; the answer where it is something else."""
        if self._is_halted():
            return None
        transport, endpoint = self._client.transport, self._places.here.endpoint
        transport.requests[request.operation.value] += 1
        self._on_asked()
        answer = BlobAnswer(lambda head: self._take_answer(head, offset))
        self._why_broken_off = None
        before = self.progress
        easy = self.easy = transport.handles.take()

        def begin_metering() -> None:
            self._metered = transport.meter(easy, endpoint.registry, sending=False, small=self._small)
            receive = answer.receive if self._metered is None else self._metered.receiving(answer.receive)
            set_download(easy, receive)

        try:
            set_request(
                easy,
                request,
                endpoint,
                answer.head,
                authorization=authorization,
                connect_timeout_s=transport.timeouts.connect_s,
            )
            begin_metering()
            if self._metered is None and not self._small:
                transport.unmetered.add(begin_metering)
            code, words = await transport.transfer(easy, request, endpoint, Origin.SOURCE)
        finally:
            transport.unmetered.discard(begin_metering)
            metered, self.easy, self._metered = self._metered, None, None
            if self._places.others and self.progress > before:
                self._places.came(self.progress - before)
            if metered is not None:
                metered.close()
            transport.handles.give_back(easy)
        if self._is_halted():
            return None
        if answer.taker is not None:
            self._conclude(code, words, request)
            return None
        if self._why_broken_off is not None:
            raise self._why_broken_off
        if answer.fault is not None:
            raise answer.fault
        return answer.response(code, words, request, Origin.SOURCE, endpoint)

    def _conclude(self, code: int, words: str, request: Request) -> None:
        stream = self._stream
        assert stream is not None
        if stream.verified:
            return  # whatever came after the last byte does not matter
        if stream.fault is not None:
            raise stream.fault
        if self._why_broken_off is not None:
            raise self._why_broken_off
        if code:
            raise transport_error(code, words, request, Origin.SOURCE, self._places.here.endpoint.network)
        raise too_short(self._digest, stream.size, stream.received)

    def _take_answer(self, head: AnswerHead, offset: int) -> Callable[[memoryview], int | None] | None:
        """Who takes the body of an answer with this head; None where it is not the blob. Raises `SyncError` for one
        that cannot be used. Called from inside libcurl.
        """
        if head.status not in (_OK, _PARTIAL_CONTENT):
            return None
        self._client.let_through(self._places.here.endpoint, Operation.GET_BLOB)
        stream = self._stream
        if stream is None:
            if head.status != _OK:
                return None
            self._stream = self._begin(content_length(head.headers))
            return self._stream.receive
        part = parse_blob_range(Response(head.status, head.headers, b"", ""), offset)
        if part.total_bytes not in (None, stream.size):
            raise length_differs(self._digest, stream.size, part.total_bytes or 0)
        stream.begin_receiving()
        return stream.receive if part.start == stream.received else self._skip(stream.received - part.start)

    def _skip(self, left: int) -> Callable[[memoryview], int | None]:
        """Takes an answer that begins with `left` bytes which are there already."""
        stream = self._stream
        assert stream is not None

        def receive(chunk: memoryview) -> int | None:
            nonlocal left
            if len(chunk) <= left:
                left -= len(chunk)
                self._skipped += len(chunk)
                return None
            signal = stream.receive(chunk[left:])
            if signal is None:  # else the same chunk may come again
                left = 0
            return signal

        return receive


def length_differs(digest: Digest, expected: int, actual: int) -> SyncError:
    """The error of a source whose Content-Length is not the size in the manifest; sizes in bytes."""
    return IntegrityError(
        f"the source announces {actual} bytes, the manifest names {expected}",
        origin=Origin.SOURCE,
        digest=digest,
        expected=f"{expected} bytes",
        actual=f"{actual} bytes",
        hint="The blob at the source is not the one that was pushed; push it there again.",
        retryable=True,
    )
