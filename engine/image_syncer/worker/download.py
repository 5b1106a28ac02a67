"""Download: the source side of a copy. Hands the bytes of a blob to a stream, whatever breaks off on the way.

Each request is a GET with redirects and a renewed token. One that breaks off is resumed where it was (`Range`, RFC 9110
section 14.2): the registry is asked again, since a signed address may have expired. Where ranges are not known, the
blob is read from its beginning, and what has come already is skipped.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import IntegrityError, Origin, ProtocolViolation, RegistryError, SyncError
from image_syncer.net import BlobAnswer, transport_error
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Operation,
    build_get_blob,
    content_length,
    follow_redirect,
    may_carry_credentials,
    parse_blob_range,
    say_whose,
)
from image_syncer.transfer.stream import Resumption, too_short
from image_syncer.worker.context import TransferSide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.net import Metered
    from image_syncer.net.client import Mirrors
    from image_syncer.oci import Digest
    from image_syncer.registry import Request, Response
    from image_syncer.transfer.stream import SmallBlob, Stream
    from image_syncer.worker.context import WorkerContext
    from image_syncer.worker.protocol import LeaseJob, Place


MIRROR_TOKEN_S = 30.0
"""How long a mirror's token may take: then the next place is asked."""
_OK = 200
_PARTIAL_CONTENT = 206
_UNAUTHORIZED = 401
_RANGE_NOT_SATISFIABLE = 416


class BlobPlaces:
    """Where one blob is asked for: mirrors in their order, then the registry itself. `mirrors` knows which mirrors
    failed lately.
    """

    def __init__(self, places: Sequence[Place], mirrors: Mirrors) -> None:
        self.here, *self.others = places
        """The place that is asked now, and those that are asked after it. The last place is the registry itself."""
        self._mirrors = mirrors

    def pass_over(self) -> None:
        """Skip mirrors that failed lately."""
        now = asyncio.get_running_loop().time()
        while self.others and not self._mirrors.is_usable(self.here.endpoint.registry, now):
            self.here = self.others.pop(0)

    def leave(self, error: SyncError, *, wrong_bytes: bool) -> SyncError | None:
        """Note that the place failed with `error`. Return None where another one is asked from now on, else the error.

        No other is asked after the registry itself, nor where wrong bytes came: the next try of the job begins anew,
        and asks no mirror.
        """
        if not self.others:
            return error
        registry = self.here.endpoint.registry
        self._mirrors.failed(registry, error, asyncio.get_running_loop().time())
        if wrong_bytes:
            return error.changed(hint=f"They came from the mirror {registry}, which is asked no more.")
        self.here = self.others.pop(0)
        return None

    def came(self, size: int) -> None:
        """Count bytes of the blob that came from this mirror."""
        self._mirrors.came(self.here.endpoint.registry, size)


class Download(TransferSide):
    """Asks the sources of `lease` for its blob. What has come is kept when another place is asked.

    `begin(size)` is called from inside libcurl when the blob's first byte is about to come: it returns what takes its
    `size` bytes. `on_broken(error)` is called
    each time the download breaks off and will be resumed. `small` says that the blob is taken whole.
    """

    def __init__(
        self,
        lease: LeaseJob,
        context: WorkerContext,
        *,
        begin: Callable[[int], Stream | SmallBlob],
        on_broken: Callable[[SyncError], None],
        small: bool,
    ) -> None:
        super().__init__(context.client, Origin.SOURCE, small=small)
        self._places = BlobPlaces(lease.sources, self._client.mirrors)
        self._digest = lease.digest
        self._size = lease.size
        self._begin = begin
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._resumption = Resumption(context.policy, context.chance, context.clock)
        self._stream: Stream | SmallBlob | None = None
        self._knows_ranges = True
        self._halts = 0
        self._skipped = 0
        self.asked = (0, 0.0)
        """`progress` when the last request began, and its time in the loop's seconds."""

    @property
    def progress(self) -> int:
        """A number that grows while bytes come: those that have come, and those that were read again."""
        return self._skipped + (self._stream.received if self._stream is not None else 0)

    async def run(self) -> None:
        """Returns when all bytes were handed over; raises the `SyncError` that prevented it."""
        while True:
            halts = self._halts
            if self._places.others:
                self._places.pass_over()
            try:
                await self._ask(halts)
            except SyncError as error:
                if self._halts == halts and (fault := self._leave_mirror(error)) is not None:
                    await self._pause(fault)
            else:
                if self._halts == halts:
                    return

    def halt(self) -> None:
        """Stop the flow of bytes; `run` begins again at what the stream has received by then."""
        self._halts += 1
        if self.easy is not None:
            self._client.transport.driver.fail(self.easy, pycurl.E_ABORTED_BY_CALLBACK, "begun again")

    def _leave_mirror(self, error: SyncError) -> SyncError | None:
        """Return None where `error` came from a mirror, so that another place is asked from now on; else the error."""
        if error is self._why_broken_off and not error.retryable:
            return error
        wrong_bytes = self._stream is not None and self._stream.fault is not None
        fault = self._places.leave(error, wrong_bytes=wrong_bytes)
        self._knows_ranges = self._knows_ranges or fault is None
        return fault

    async def _pause(self, error: SyncError) -> None:
        """Sleep until the download may be resumed; raises `error` where it may not."""
        stream = self._stream
        if stream is None or stream.fault is not None:
            raise error
        if isinstance(error, RegistryError) and error.status == _RANGE_NOT_SATISFIABLE:
            raise too_short(self._digest, stream.size, stream.received)
        if isinstance(error, ProtocolViolation) and self._knows_ranges:
            self._knows_ranges, error = False, error.changed(retryable=True)
        self._resumption.advanced_to(stream.received, stream.size)
        pause = self._resumption.pause_s(error)
        self._on_broken(error)
        await asyncio.sleep(pause)

    async def _ask(self, halts: int) -> None:
        endpoint, repository = self._places.here.endpoint, self._places.here.repository
        mirrors = self._places.others
        offset = self._stream.received if self._stream is not None and self._knows_ranges else 0
        request = build_get_blob(endpoint, repository, self._digest, offset=offset)
        if mirrors:
            request = say_whose(request, mirrors[-1].endpoint.registry)
        renewed, followed = False, 0
        while self._halts == halts:
            own = may_carry_credentials(endpoint.base_url, request.url)
            value = None
            if own:
                try:
                    value = await self._client.admit(request, endpoint, token_s=MIRROR_TOKEN_S if mirrors else None)
                except asyncio.TimeoutError:
                    text = f"the mirror {endpoint.registry} had no token in time"
                    raise SyncError(text, origin=Origin.SOURCE) from None
            if self._halts != halts:
                return
            response = await self._get(request, value, offset)
            if response is None:
                return
            if response.status in REDIRECT_STATUSES:
                request = follow_redirect(
                    request, response, followed=followed, origin=Origin.SOURCE, allowed=endpoint.redirects
                )
                followed += 1
            elif response.status == _UNAUTHORIZED and own and not renewed:
                renewed = True
                challenges = response.headers.get_all("WWW-Authenticate")
                await self._client.authorizer.renew(endpoint, repository, request.scopes, value, challenges)
            else:
                error = self._client.failure(response, request, endpoint, Origin.SOURCE)
                if mirrors or not own or not self._client.waits_for(error, endpoint):
                    raise error

    async def _get(self, request: Request, authorization: str | None, offset: int) -> Response | None:
        """None where the blob came to its end, or `halt` was called; the answer where it is something else."""
        endpoint, halts, before = self._places.here.endpoint, self._halts, self.progress
        self.asked = (before, self._loop.time())
        answer = BlobAnswer(request, partial(self._take_answer, offset))
        handle = self._client.transport.handles.take(request, endpoint, authorization, streamed=True)
        easy = handle.easy
        easy.setopt(pycurl.HEADERFUNCTION, answer.lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, answer.receive, use_memoryview=True)

        def meter(metered: Metered) -> None:
            easy.setopt(pycurl.WRITEFUNCTION, metered.receiving(answer.receive), use_memoryview=True)

        try:
            code, words = await self._transfer(handle, request, endpoint, meter)
        finally:
            if self._places.others and self.progress > before:
                self._places.came(self.progress - before)
        if self._halts != halts:
            return None
        answer.look()
        if answer.taker is None:
            if (error := self._why_broken_off or answer.fault) is not None:
                raise error
            return answer.response(code, words, Origin.SOURCE, endpoint)
        assert self._stream is not None
        if not self._stream.verified:  # what comes after the last byte does not matter
            raise self._why_ended(self._stream, code, words, request)
        return None

    def _why_ended(self, stream: Stream | SmallBlob, code: int, words: str, request: Request) -> SyncError:
        """The error of a download that ended before its last byte."""
        if (error := stream.fault or self._why_broken_off) is not None:
            return error
        if code:
            return transport_error(code, words, request, Origin.SOURCE, self._places.here.endpoint.network)
        return too_short(self._digest, stream.size, stream.received)

    def _take_answer(self, offset: int, head: Response) -> Callable[[memoryview], int | None] | None:
        """The callback for the body of an answer with this head; None where it is not the blob. Raises `SyncError` for
        an answer that cannot be used. Called from inside libcurl.
        """
        if head.status not in (_OK, _PARTIAL_CONTENT):
            return None
        if patience := self._client.patience:
            patience.went(self._places.here.endpoint.registry, Operation.GET_BLOB.value)
        stream = self._stream
        if stream is None:
            if head.status != _OK:
                return None
            length = content_length(head.headers)
            size = self._size if self._size >= 0 else length
            if size is None:
                text = "the source does not say how long the blob is, and neither does the manifest"
                raise SyncError(text, origin=Origin.SOURCE)
            if length not in (None, size):
                raise length_differs(self._digest, size, length or 0)
            self._stream = self._begin(size)
            return self._stream.receive
        part = parse_blob_range(head, offset)
        if part.total_bytes not in (None, stream.size):
            raise length_differs(self._digest, stream.size, part.total_bytes or 0)
        stream.begin_receiving()
        return stream.receive if part.start == stream.received else self._skip(stream.received - part.start)

    def _skip(self, left: int) -> Callable[[memoryview], int | None]:
        """A callback for an answer that begins with `left` bytes which have come already."""
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
