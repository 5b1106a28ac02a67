"""Blob bodies: from the connection into an upload, and from a reader into the connection, in constant memory.

Faults in mid-stream, bandwidth and idle timeouts apply here.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from image_syncer.embedded.behaviour import FaultKind
from image_syncer.embedded.call import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import TypeVar

    from image_syncer.embedded.behaviour import Fault
    from image_syncer.embedded.call import Call
    from image_syncer.embedded.storage import BlobReader, StorageUpload

    _T = TypeVar("_T")


_BATCH_BYTES = 2**20  # hashed and written at once, in a thread: large enough to make the switch of threads cheap
_INLINE_BYTES = 64 * 1024  # below it the switch costs more than the work
_PIECE_BYTES = 512 * 1024  # handed to the connection at once
_SENDFILE_BYTES = 8 * 2**20  # per call: bounds what a counter may miss of a download that is cut
_PACE_S = 0.05  # how long a piece lasts where the bandwidth is limited
_GONE_POLL_S = 0.05
_LINGER_OFF = struct.pack("ii", 1, 0)

_CUT = (ConnectionError, ClientError, asyncio.TimeoutError, web.RequestPayloadError)


def abort(request: web.BaseRequest) -> ConnectionResetError:
    """Reset the connection, and return the exception that ends the request without a log entry."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        transport.abort()
    return ConnectionResetError("cut on purpose")


async def stall(request: web.BaseRequest) -> ConnectionResetError:
    """Wait until the client has closed the connection, and return the exception to raise."""
    # Polled, because aiohttp does not report a lost connection to a handler.
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(_GONE_POLL_S)
    return ConnectionResetError("the client has gone")


async def continue_body(request: web.BaseRequest) -> None:
    """Send "100 Continue" if the client waits for it (RFC 9110, section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        transport = request.transport
        if transport is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def read_small_body(call: Call, limit_bytes: int) -> bytes:
    """Return the whole body. Refuses the request with 413 if it is longer than `limit_bytes`."""
    await continue_body(call.request)
    body = bytearray()
    while piece := await call.request.content.readany():
        body += piece
        if len(body) > limit_bytes:
            raise Refusal(413, "SIZE_INVALID", f"the body is larger than {limit_bytes} bytes")
    return bytes(body)


async def receive_body(call: Call, upload: StorageUpload) -> None:
    """Append the body of the request to `upload`.

    Raises a ConnectionError if it is cut; the behaviour says whether the bytes so far are kept. A thread hashes and
    writes while the next bytes arrive; at most two batches are in memory.
    """
    await continue_body(call.request)
    sink = _BodySink(call, upload)
    fault = call.stream_fault(FaultKind.RESET)
    pace = _Pace(call.behaviour.bandwidth_bytes_per_s)
    content = call.request.content
    received = 0
    try:
        while piece := await _within(call.behaviour.idle_timeout_s, content.readany()):
            if fault is not None and received + len(piece) >= fault.after_bytes:
                await sink.add(piece[: fault.after_bytes - received])
                raise ConnectionResetError("cut on purpose")
            received += len(piece)
            await sink.add(piece)
            await pace.wait(len(piece))
        await sink.finish()
        if fault is not None:  # the body ended before the offset of the fault: cut all the same
            raise ConnectionResetError("cut on purpose")
    except _CUT as error:  # cut only when the upload has its final state
        if call.behaviour.keep_partial:
            await sink.finish()
        else:
            await sink.settle()
            call.storage.discard_upload(upload)
        raise abort(call.request) from error
    except (asyncio.CancelledError, Refusal, OSError):
        await sink.settle()
        call.storage.discard_upload(upload)
        raise


class _BodySink:
    """Collects pieces into batches and appends them to an upload."""

    def __init__(self, call: Call, upload: StorageUpload) -> None:
        self._call = call
        self._upload = upload
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._accepted_bytes = upload.offset
        self._running: asyncio.Future[None] | None = None

    async def add(self, piece: bytes) -> None:
        self._accepted_bytes += len(piece)
        self._call.counters.add_bytes_in(len(piece))
        capacity = self._call.behaviour.capacity_bytes
        if capacity is not None and self._call.storage.used_bytes + self._accepted_bytes > capacity:
            raise _no_space(self._call)
        self._batch.append(piece)
        self._batch_bytes += len(piece)
        if self._batch_bytes >= _BATCH_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Append all pieces to the upload."""
        if self._batch:
            await self._flush()
        await self.settle()

    async def settle(self) -> None:
        """Wait for the running append."""
        running, self._running = self._running, None
        if running is not None:
            try:
                await asyncio.shield(running)
            except OSError as error:
                raise refusal_of(self._call, error) from error

    async def _flush(self) -> None:
        await self.settle()
        batch, self._batch = self._batch, []
        size, self._batch_bytes = self._batch_bytes, 0
        if size <= _INLINE_BYTES:
            self._upload.append(batch)
        else:
            self._running = asyncio.get_running_loop().run_in_executor(None, self._upload.append, batch)


def refusal_of(call: Call, error: OSError) -> Refusal:
    """Return the refusal for a storage that cannot be read or written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(call)
    return Refusal(500, "UNKNOWN", f"the storage failed: {error.strerror or error}")


def _no_space(call: Call) -> Refusal:
    return Refusal(call.behaviour.full_status, "UNKNOWN", "write: no space left on device", quirk="no space left")


async def send_body(call: Call, response: web.StreamResponse, reader: BlobReader, begin: int, end: int) -> None:
    """Send the bytes from `begin` to before `end` of a blob as the body of `response`."""
    untold = call.stream_fault(FaultKind.UNTOLD_LENGTH)
    if untold is None:
        response.content_length = end - begin
    else:
        response.enable_chunked_encoding()
    await response.prepare(call.request)
    behaviour = call.behaviour
    fault = call.stream_fault(FaultKind.RESET, FaultKind.WRONG_BYTES, FaultKind.SHORT_BODY, FaultKind.STALL)
    depth = min(fault.after_bytes, end - begin - 1) if fault is not None else 0
    plain = (
        fault is None
        and untold is None
        and behaviour.bandwidth_bytes_per_s is None
        and behaviour.idle_timeout_s is None
    )
    if plain and begin < end and await _try_sendfile(call, reader, begin, end):
        return
    pace = _Pace(behaviour.bandwidth_bytes_per_s)
    offset = begin
    while offset < end:
        limit = min(pace.piece_bytes, end - offset)
        piece = (
            reader.read(offset, limit) if reader.file is None else await asyncio.to_thread(reader.read, offset, limit)
        )
        if not piece:
            raise abort(call.request)  # the file was truncated meanwhile
        if fault is not None:
            piece = await _strike(call, response, fault, piece, depth - (offset - begin))
        call.counters.add_bytes_out(len(piece))  # before the client has them and may read the counters
        try:
            await _within(behaviour.idle_timeout_s, response.write(piece))
        except asyncio.TimeoutError:
            raise abort(call.request) from None
        offset += len(piece)
        await pace.wait(len(piece))
    if untold is not None and untold.after_bytes:
        await response.write(bytes(untold.after_bytes))
    await response.write_eof()


async def _strike(
    call: Call, response: web.StreamResponse, fault: Fault, piece: bytes | memoryview, depth: int
) -> bytes | memoryview:
    """Return the piece after the fault at `depth`; raises if the fault ends the body within it."""
    if not 0 <= depth < len(piece):
        return piece
    if fault.kind is FaultKind.WRONG_BYTES:
        spoiled = bytearray(piece)
        spoiled[depth] ^= 0xFF
        return bytes(spoiled)
    call.counters.add_bytes_out(depth)
    await response.write(piece[:depth])
    if fault.kind is FaultKind.STALL:
        raise await stall(call.request)
    if fault.kind is FaultKind.SHORT_BODY:
        raise ConnectionResetError("ended too early on purpose")  # aiohttp closes after what was written
    raise abort(call.request)


async def _try_sendfile(call: Call, reader: BlobReader, begin: int, end: int) -> bool:
    """Let the kernel copy a file into the connection; False if it cannot (TLS, uvloop, no file)."""
    transport = call.request.transport
    if reader.file is None or transport is None or transport.get_extra_info("sslcontext") is not None:
        return False
    loop = asyncio.get_running_loop()
    offset = begin
    while offset < end:
        if transport.is_closing():  # sendfile on it is an internal error of asyncio
            raise ConnectionResetError("the client has gone")
        count = min(_SENDFILE_BYTES, end - offset)
        call.counters.add_bytes_out(count)
        sent = 0
        try:
            sent = await loop.sendfile(transport, reader.file, reader.file_begin + offset, count, fallback=False)
        except (NotImplementedError, asyncio.SendfileNotAvailableError):
            if offset > begin:
                raise abort(call.request) from None
            return False
        finally:
            call.counters.add_bytes_out(sent - count)
        offset += sent
        if sent == 0:
            raise abort(call.request)
    return True


class _Pace:
    """Limits the rate of a stream: `wait` returns when the bytes so far are due."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._begin_s = time.monotonic()
        self._moved_bytes = 0
        self.piece_bytes = _PIECE_BYTES
        if bytes_per_s is not None:
            self.piece_bytes = max(1, min(_PIECE_BYTES, int(bytes_per_s * _PACE_S)))

    async def wait(self, size_bytes: int) -> None:
        if self._bytes_per_s is None:
            return
        self._moved_bytes += size_bytes
        due_s = self._begin_s + self._moved_bytes / self._bytes_per_s
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))


async def _within(timeout_s: float | None, work: Awaitable[_T]) -> _T:
    return await (work if timeout_s is None else asyncio.wait_for(work, timeout_s))
