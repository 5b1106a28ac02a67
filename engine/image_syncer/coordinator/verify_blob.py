"""Reading blobs of a destination to hash them: bytes go from libcurl's buffer into the digest, and nowhere else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import Origin, SyncError
from image_syncer.net import BlobAnswer, InFlightLimit, set_download, set_request
from image_syncer.oci import Digest
from image_syncer.planning import Tries
from image_syncer.registry import (
    REDIRECT_STATUSES,
    Response,
    build_get_blob,
    follow_redirect,
    may_carry_credentials,
    parse_blob_range,
)
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from image_syncer.net import AnswerHead, RegistryClient
    from image_syncer.oci import Descriptor, Repository
    from image_syncer.planning import RetryPolicy
    from image_syncer.registry import Endpoint, Request

__all__ = ["BlobRead", "BlobReading"]

AT_ONCE = 16
"""Blobs of one registry that are read at a time: hashing keeps one core busy, and more would only share it."""
MOST_RENEWALS = 3
"""Tokens that are asked for anew in one exchange."""
PROGRESS_BYTES = 256 * 1024
"""A try that brought so much is not held against the next one."""
_OK = 200
_PARTIAL_CONTENT = 206
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_RANGE_REFUSED = 416


class BlobRead(Value, frozen=True):
    """What came: the digest of `size` bytes. `whole` is False where the blob went on past the size that was expected.

    `bytes_read` are those of all tries.
    """

    digest: Digest
    size: int
    whole: bool
    bytes_read: int


class BlobReading:
    """Reads blobs, a few of each registry at a time (`limit_of` may say how many), in constant memory for each.

    A broken read goes on from where it was, with the state of the hash kept. `chance` gives a uniform number in [0, 1).
    """

    def __init__(
        self,
        client: RegistryClient,
        *,
        retry: RetryPolicy,
        chance: Callable[[], float],
        limit_of: Callable[[str], int | None] = lambda _registry: None,
    ) -> None:
        self._client = client
        self._retry = retry
        self._chance = chance
        self._limit_of = limit_of
        self._gates: dict[str, InFlightLimit] = {}
        self.bytes_read = 0

    async def read(self, endpoint: Endpoint, repository: Repository, blob: Descriptor) -> BlobRead | None:
        """The blob as it is there now; None where it is not. Raises the `SyncError` that keeps it from being read."""
        limit = self._gates.get(repository.registry)
        if limit is None:
            at_once = min(AT_ONCE, self._limit_of(repository.registry) or AT_ONCE)
            limit = self._gates[repository.registry] = InFlightLimit(at_once)
        await limit.enter()
        try:
            return await self._read(endpoint, repository, blob)
        finally:
            limit.leave()

    async def _read(self, endpoint: Endpoint, repository: Repository, blob: Descriptor) -> BlobRead | None:
        sink = _Sink(blob, self._count)
        loop = asyncio.get_running_loop()
        tries = Tries(loop.time())
        while True:
            before = sink.size
            try:
                if not await self._exchange(endpoint, repository, blob, sink):
                    return None
            except SyncError as error:
                now = loop.time()
                if sink.size - before >= PROGRESS_BYTES:
                    tries = Tries(now)
                pause = self._retry.pause_s(error, tries.made + 1, self._chance(), tries.spent_s(now))
                tries = tries.plus(error, now, pause)
                if pause is None:
                    error.origin = Origin.DESTINATION
                    raise tries.write_on(error) from None
            else:
                if sink.resumed and sink.digest != blob.digest:
                    sink.restart()  # what two answers gave may be of two states of the blob
                    continue
                return BlobRead(sink.digest, sink.size, not sink.too_long, sink.received)
            await asyncio.sleep(pause)

    def _count(self, size: int) -> None:
        self.bytes_read += size

    async def _exchange(self, endpoint: Endpoint, repository: Repository, blob: Descriptor, sink: _Sink) -> bool:
        """One try, redirects and renewed tokens included. False: the blob is not there."""
        client = self._client
        request = build_get_blob(endpoint, repository, blob.digest, offset=sink.size)
        renewals = followed = 0
        while True:
            own = may_carry_credentials(endpoint.base_url, request.url)
            if own:
                await client.wait_for_turn(endpoint, request.operation)
            value = await client.authorization_for(request, endpoint)
            response = await self._transfer(request, endpoint, value, sink)
            if response is None:
                client.let_through(endpoint, request.operation)
                return True
            if response.status in REDIRECT_STATUSES and response.headers.get("Location"):
                request = follow_redirect(
                    request, response, followed=followed, origin=Origin.DESTINATION, allowed=endpoint.redirects
                )
                followed += 1
            elif response.status == _UNAUTHORIZED and renewals < MOST_RENEWALS and own:
                renewals += 1
                challenges = response.headers.get_all("WWW-Authenticate")
                await client.authorizer.renew(endpoint, repository, request.scopes, value, challenges)
            elif response.status == _NOT_FOUND:
                return False
            elif response.status == _RANGE_REFUSED and sink.size:
                sink.restart()  # what is there now is shorter than what has come, and is read from its begin
                request = build_get_blob(endpoint, repository, blob.digest)
            else:
                error = client.failure(response, request, endpoint, Origin.DESTINATION)
                if not (own and client.waits_for(error, endpoint)):
                    raise error

    async def _transfer(
        self, request: Request, endpoint: Endpoint, authorization: str | None, sink: _Sink
    ) -> Response | None:
        """None where the blob came to its end, or past it; the answer where it is something else."""
        transport = self._client.transport
        transport.requests[request.operation.value] += 1
        answer = BlobAnswer(sink.begin)
        easy = transport.handles.take()
        metered = transport.meter(easy, endpoint.registry, sending=False)
        receive = answer.receive
        if metered is not None:
            receive = metered.receiving(receive)
        try:
            set_request(
                easy,
                request,
                endpoint,
                answer.head,
                authorization=authorization,
                connect_timeout_s=transport.timeouts.connect_s,
            )
            set_download(easy, receive)
            easy.setopt(pycurl.LOW_SPEED_LIMIT, 1)
            easy.setopt(pycurl.LOW_SPEED_TIME, max(1, int(transport.timeouts.stall_s)))
            code, words = await transport.transfer(easy, request, endpoint, Origin.DESTINATION)
        finally:
            if metered is not None:
                metered.close()
            transport.handles.give_back(easy)
        if answer.fault is not None:
            raise answer.fault
        if sink.too_long:
            return None
        response = answer.response(code, words, request, Origin.DESTINATION, endpoint)
        return None if answer.taker is not None else response


class _Sink:
    """The hash of one blob, and how far it has come."""

    def __init__(self, blob: Descriptor, on_bytes: Callable[[int], None]) -> None:
        self._blob = blob
        self._on_bytes = on_bytes
        self._hash: _Hash = blob.digest.new_hash()
        self.size = 0
        self.received = 0
        self.too_long = False
        self.resumed = False

    @property
    def digest(self) -> Digest:
        """Of what has come so far."""
        return Digest(f"{self._blob.digest.algorithm}:{self._hash.hexdigest()}")

    def restart(self) -> None:
        """The bytes come from the first one on."""
        self._hash = self._blob.digest.new_hash()
        self.size = 0
        self.too_long = self.resumed = False

    def begin(self, head: AnswerHead) -> Callable[[memoryview], int | None] | None:
        """Who takes the body of an answer with this head, see `BlobAnswer`."""
        if head.status not in (_OK, _PARTIAL_CONTENT):
            return None
        began = parse_blob_range(Response(head.status, head.headers, b"", ""), self.size).start
        if began != self.size:
            self.restart()
        self.resumed = self.size > 0
        return self.take

    def take(self, chunk: memoryview) -> int | None:
        """Hashes `chunk`; -1 where there is more than there should be, and the rest need not be read."""
        self._hash.update(chunk)
        count = len(chunk)
        self.size += count
        self.received += count
        self._on_bytes(count)
        if 0 <= self._blob.size < self.size:
            self.too_long = True
            return -1
        return None
