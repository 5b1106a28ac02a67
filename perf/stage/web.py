"""A small HTTP/1.1 server on epoll, for servers that must never be the slow side of a measurement.

One process, one thread, no coroutine: an event leads to one call of `recv`, and a request to one call of `send`. The
bodies of uploads are thrown away inside the kernel: `recv` with MSG_TRUNC on TCP (tcp(7)) counts bytes and copies none,
so an upload costs its sender's work and little of ours. With TLS they have to be decrypted, of course, and bodies in
chunks have to be read to find their end; both cost a copy.

What it leaves out, since the clients at hand do not need it: HTTP/2, pipelining of requests with bodies, trailers.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING

from perf.stage.chunks import ChunkedBody
from perf.stage.exchange import FileBody, Request

if TYPE_CHECKING:
    from perf.stage.access import Access
    from perf.stage.exchange import Site
    from perf.stage.limits import Allowance, Gate

__all__ = ["Server"]

HEAD_BYTES = 65_536
"""What is read at once where a head is expected; the beginning of a body may come with it."""

CHUNK_BYTES = 256 * 1024
"""Bodies that must be seen (chunks, TLS) are read, and files under TLS sent, in pieces that fit into a core's cache."""

VOID_BYTES = 64 * 2**20
"""Size of the buffer that MSG_TRUNC never writes to: no page of it ever exists."""

WAKE_BYTES = 256 * 1024
"""SO_RCVLOWAT during a large body: fewer wake-ups, which are the sink's cost once the copy is gone."""

TURN_READS = 64
"""Records of TLS (16 KiB each) that one connection may read before the others have their turn."""

PARKED_S = 0.002
"""How soon connections that a limit stopped are asked again."""

TLS_HELLO = 0x16
"""First byte of a TLS hello: a client that tries TLS first must see a plain server close, not wait."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Connection:
    __slots__ = (
        "_again", "_chunks", "_closing", "_head", "_kept", "_left", "_low", "_out", "_request", "_server", "_shaking",
        "_taken", "fd", "interest", "sock",
    )  # fmt: skip

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server, self.sock, self.fd = server, sock, sock.fileno()
        self._head = b""
        self._request: Request | None = None
        self._left, self._taken, self._low, self._again = 0, 0, False, 0
        self._chunks: ChunkedBody | None = None
        self._kept: bytearray | None = None
        self._out: deque[bytes | memoryview | FileBody] = deque()
        self._closing, self._shaking = False, server.tls is not None
        self.interest = select.EPOLLIN

    # -- what epoll tells ---------------------------------------------------------------------------------------------

    def on_event(self) -> None:
        try:
            if self._shaking:
                self.sock.do_handshake()  # type: ignore[attr-defined]
                self._shaking = False
            if self._out and not self._flush():
                return
            if self._server.tls is None:
                self._turn()
            else:
                for _ in range(TURN_READS):
                    if not self._turn():
                        break
        except (BlockingIOError, ssl.SSLWantReadError):
            self._server.watch(self, select.EPOLLOUT if self._out else select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._server.watch(self, select.EPOLLOUT)
        except (OSError, ValueError):  # the client is gone, or spoke no TLS, or no HTTP
            self.close()

    def _turn(self) -> bool:
        """One read and what follows from it. False: nothing more to do now."""
        if self._request is None:
            data = self.sock.recv(HEAD_BYTES)
            if not data or (data[0] == TLS_HELLO and not self._head and self._server.tls is None):
                self.close()
                return False
            return self._on_bytes(data)
        if self._chunks is not None or self._kept is not None:
            data = self.sock.recv(min(self._left or CHUNK_BYTES, CHUNK_BYTES))
            if not data:
                self.close()
                return False
            return self._on_bytes(data)
        return self._throw_away()

    def _throw_away(self) -> bool:
        server, wanted = self._server, self._left
        if server.allowance is not None:
            wanted = server.allowance.take(wanted, time.monotonic())
            if not wanted:
                server.park(self)
                return False
        got = 0
        try:
            if server.tls is None:
                got = self.sock.recv_into(server.void, min(wanted, VOID_BYTES), socket.MSG_TRUNC)
            else:
                got = self.sock.recv_into(server.scratch, min(wanted, CHUNK_BYTES))
        finally:
            if server.allowance is not None:
                server.allowance.give_back(wanted - got)
        if not got:
            self.close()
            return False
        self._taken += got
        self._left -= got
        if self._low and self._left < 2 * WAKE_BYTES:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            self._low = False
        return self._left > 0 or self._finish()

    @property
    def sends(self) -> bool:
        """Whether an answer waits for the socket."""
        return bool(self._out)

    # -- what the bytes mean ------------------------------------------------------------------------------------------

    def _on_bytes(self, data: bytes) -> bool:
        """Go through bytes that were read: heads, and bodies or the beginnings of some."""
        while True:
            if self._request is None:
                data = self._head + data if self._head else data
                stop = data.find(b"\r\n\r\n")
                if stop < 0:
                    self._head = data
                    return True
                self._head = b""
                self._begin(Request(data[:stop].decode("latin-1")))
                data = data[stop + 4 :]
            if self._chunks is not None:
                data = self._chunks.feed(data)
                if not self._chunks.ended:
                    return True
                self._taken, self._kept, self._chunks = self._chunks.taken, self._chunks.kept, None
            elif data and self._left:
                piece = data[: self._left]
                data = data[self._left :]
                self._taken += len(piece)
                self._left -= len(piece)
                if self._kept is not None:
                    self._kept += piece
            if self._left:
                return True
            if not self._finish():
                self._head = data
                return False
            if not data:
                return True

    def _begin(self, request: Request) -> None:
        self._request, self._taken = request, 0
        keeps = self._server.site.keeps(request)
        self._kept = bytearray() if keeps else None
        length = request.header("content-length")
        self._left = int(length) if length else 0
        if not length and "chunked" in (request.header("transfer-encoding") or ""):
            self._chunks = ChunkedBody(keeps=keeps)
        if request.waits:
            self.sock.send(CONTINUE)
        if self._left > 4 * WAKE_BYTES and self._kept is None and self._server.tls is None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)
            self._low = True

    def _finish(self) -> bool:
        """The request is all there: answer it. False: the answer waits for the socket, or the connection ended."""
        server, request = self._server, self._request
        assert request is not None
        self._request = None
        self._closing = request.closes
        reply = server.reply(request, self._taken, b"" if self._kept is None else bytes(self._kept))
        self._kept = None
        if type(reply) is bytes and server.tls is None:
            try:
                sent = self.sock.send(reply)
            except BlockingIOError:
                sent = 0
            if sent == len(reply):
                if self._closing:
                    self.close()
                return not self._closing
            reply = reply[sent:]
        self._out.append(reply)
        return self._flush()

    # -- sending ------------------------------------------------------------------------------------------------------

    def _flush(self) -> bool:
        """Send what waits. False where that is not all, or the connection is closed now."""
        server = self._server
        try:
            while self._out:
                item = self._out.popleft()
                if not isinstance(item, FileBody):
                    self._send_bytes(item)
                elif (rest := self._send_file(item)) is not None:
                    self._out.appendleft(rest)
                    return False
        except (BlockingIOError, ssl.SSLWantWriteError):
            server.watch(self, select.EPOLLOUT)
            return False
        if self._closing:
            self.close()
            return False
        server.watch(self, select.EPOLLIN)
        return True

    def _send_bytes(self, item: bytes | memoryview) -> None:
        view = memoryview(item)
        try:
            while view:
                view = view[self.sock.send(view) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._out.appendleft(view)
            raise

    def _send_file(self, item: FileBody) -> FileBody | None:
        """Send a file as far as the socket and the limit allow; what is left when the limit stopped it."""
        server = self._server
        head, descriptor, offset, left = item
        try:
            if head:
                self._send_bytes_more(head)
                head = b""
            while left:
                wanted = left
                if server.allowance is not None:
                    wanted = server.allowance.take(left, time.monotonic())
                    if not wanted:
                        server.park(self)
                        return FileBody(head, descriptor, offset, left)
                sent = 0
                try:
                    if server.tls is None:
                        sent = os.sendfile(self.fd, descriptor, offset, wanted)
                    else:
                        # OpenSSL wants a write that it could not do again with the same bytes at least: reads from the
                        # same offset give them, and a limit that allows fewer then is let pass.
                        sent = self._send_again(descriptor, offset, wanted)
                finally:
                    if server.allowance is not None:
                        server.allowance.give_back(wanted - sent)
                offset, left = offset + sent, left - sent
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._out.appendleft(FileBody(head, descriptor, offset, left))
            raise
        os.close(descriptor)
        return None

    def _send_again(self, descriptor: int, offset: int, wanted: int) -> int:
        self._again = max(self._again, min(wanted, CHUNK_BYTES))
        sent = self.sock.send(os.pread(descriptor, self._again, offset))
        self._again = 0
        return sent

    def _send_bytes_more(self, head: bytes) -> None:
        if self._server.tls is None:
            # MSG_MORE: head and file in one segment. A fresh socket buffer always has room for a head.
            self.sock.send(head, socket.MSG_MORE)
        else:
            self.sock.send(head)

    def close(self) -> None:
        if self._request is not None:
            self._server.site.broken(self._request)
        for item in self._out:
            if isinstance(item, FileBody):
                os.close(item.descriptor)
        self._out.clear()
        self._server.forget(self)
        self.sock.close()


class Server:
    """Serves one site on one listening socket, until the process is ended."""

    def __init__(
        self,
        listener: socket.socket,
        site: Site,
        *,
        tls: ssl.SSLContext | None = None,
        access: Access | None = None,
        allowance: Allowance | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.site, self.tls, self.allowance = site, tls, allowance
        self._access, self._gate, self._listener = access, gate, listener
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._parked: list[_Connection] = []
        self._unpark_at = 0.0
        self.void = mmap.mmap(-1, VOID_BYTES)
        self.scratch = bytearray(CHUNK_BYTES)

    def run(self) -> None:
        """Serve for ever."""
        self._listener.setblocking(False)
        self._epoll.register(self._listener, select.EPOLLIN)
        listener, poll, connections = self._listener.fileno(), self._epoll.poll, self._connections
        while True:
            for fd, _ in poll(PARKED_S if self._parked else -1):
                if fd == listener:
                    self._accept()
                elif fd in connections:
                    connections[fd].on_event()
            if self._parked and time.monotonic() >= self._unpark_at:
                self._unpark()

    def _unpark(self) -> None:
        self._unpark_at = time.monotonic() + PARKED_S
        parked, self._parked = self._parked, []
        for connection in parked:
            if self._connections.get(connection.fd) is connection:
                self.watch(connection, select.EPOLLOUT if connection.sends else select.EPOLLIN)
                connection.on_event()  # what TLS has decrypted already, epoll does not tell

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            connection = _Connection(self, sock)
            self._connections[connection.fd] = connection
            self._epoll.register(connection.fd, select.EPOLLIN)
            self.site.counts["connections"] += 1

    def reply(self, request: Request, taken: int, body: bytes) -> bytes | FileBody:
        """The site's answer, where access and the gate let the request through."""
        if self._access is not None or self._gate is not None:
            refusal = self._refuse(request)
            if refusal is not None:
                return refusal
        return self.site.respond(request, taken, body)

    def _refuse(self, request: Request) -> bytes | None:
        if request.path.startswith("/perf/"):  # the bench asks; that is no part of what is measured
            return None
        counts = self.site.counts
        if self._gate is not None:
            refusal = self._gate.refuse(time.monotonic())
            if refusal is not None:
                counts["refused 429"] += 1
                return refusal
        if self._access is not None:
            reply = self._access.reply(request)
            if reply is not None:
                counts["GET token" if request.path == "/token" else "refused 401"] += 1
            return reply
        return None

    def watch(self, connection: _Connection, interest: int) -> None:
        """Have epoll tell of this from now on."""
        if connection.interest != interest and connection.fd in self._connections:
            connection.interest = interest
            self._epoll.modify(connection.fd, interest)

    def park(self, connection: _Connection) -> None:
        """A limit stopped this connection: ask it again in a moment, whatever epoll says."""
        self.watch(connection, 0)
        self._parked.append(connection)

    def forget(self, connection: _Connection) -> None:
        """This connection is about to be closed."""
        if self._connections.pop(connection.fd, None) is not None:
            self._epoll.unregister(connection.fd)
