"""A proxy between the tool and a registry that breaks what passes it, on cue: each door of it is another address of
one registry, with faults, limits and counters of its own.

It knows just enough HTTP/1.1 (RFC 9112) to tell which operation a request is and where a body ends, and passes on what
it is not told to break, byte for byte. It runs on an event loop in a thread.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

from image_syncer.embedded.route import parse_route
from support.fault_plan import Action, Moment, ProxyFault, Strikes, Weather
from support.http_wire import (
    Head,
    Link,
    body_length,
    pieces_of,
    read_head,
    send_chunked,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

__all__ = ["Door", "FaultProxy", "run_fault_proxy"]

_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
"""TLS 1.2, fatal, handshake_failure (RFC 5246, section 7.2)."""
_TLS_HELLO = b"\x16"
_REFUSED_S = 0.15
"""How long nobody listens where connections are refused for a while."""
_TRICKLE_S = 0.02
_DRAINED_POLL_S = 0.002
_LINGER_S = 5.0
_EXTRA = b"these bytes do not belong here"


class _BrokenError(Exception):
    """The exchange ended as the plan wants, and its connection with it."""


class Door:
    """One address of the proxy. `requests` are counted by operation, `history` has (operation, target) in the order of
    their coming; `bytes_up` and `bytes_down` are those of bodies, from and to the client; `connections` counts the
    accepted, `most_open` is the largest number at one time, `cuts` counts the connections cut by their bytes.
    """

    def __init__(self, proxy: FaultProxy, upstream: str) -> None:
        self._proxy = proxy
        self._upstream = upstream
        self._listener = _bound_listener()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.tls: ssl.SSLContext | None = None
        self.cut_down: int | None = None
        self.cut_up: int | None = None
        self.cut_times: int | None = None
        self.most_connections: int | None = None
        self.strikes = Strikes(())
        self.requests: Counter[str] = Counter()
        self.history: list[tuple[str, str]] = []
        self.bytes_up = self.bytes_down = self.connections = self.most_open = self.cuts = self.over_limit = 0
        self._on_connect: Action | None = None
        self._connects: int | None = 0
        self._refusing = False
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def break_with(self, *faults: ProxyFault, weather: Weather | None = None) -> None:
        """From now on these faults, and no others."""
        self.strikes = Strikes(faults, weather)
        self._on_connect, self._connects = None, 0
        if self._refusing:
            self._proxy.call(self._listen())

    def break_connects(self, action: Action, times: int | None) -> None:
        """The next `times` connections (None: all) meet `action`."""
        self._on_connect, self._connects = action, times
        if action is Action.REFUSE:
            self._proxy.call(self._refuse())

    def count(self, operation: str) -> int:
        """Requests of one kind so far."""
        return self.requests[operation]

    async def _listen(self) -> None:
        if self._refusing:
            self._refusing = False
            self._listener.listen()
        self._listener.setblocking(False)
        # No task that waits in `sock_accept`: one that is cancelled while somebody connects loses the connection, and
        # asyncio complains.
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            task = asyncio.ensure_future(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _close_listener(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()

    async def _refuse(self) -> None:
        if not self._refusing:
            asyncio.get_running_loop().remove_reader(self._listener)
            # Not `close`: a process that was forked meanwhile has the same socket, and listens until it executes
            # another program. The port stays bound.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._refusing = True
        if self._connects is not None:
            asyncio.get_running_loop().call_later(_REFUSED_S, self._reopen)

    def _reopen(self) -> None:
        if not self._refusing or self._listener.fileno() < 0:  # it has been shut meanwhile
            return
        self._on_connect, self._connects = None, 0
        task = asyncio.ensure_future(self._listen())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def shut(self) -> None:
        """Take no more connections, and end those that are there."""
        self._close_listener()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _meets(self) -> Action | None:
        if self._on_connect is None or self._connects == 0:
            return None
        if self._connects is not None:
            self._connects -= 1
        return self._on_connect

    async def _serve(self, connection: socket.socket) -> None:
        self.connections += 1
        met = self._meets()
        link = None
        try:
            link = await Link.over(connection, None if met is Action.ALERT else self.tls)
            if met is None and self.most_connections is not None and len(self._links) >= self.most_connections:
                self.over_limit += 1
                met = Action.CLOSE
            if met is not None:
                await self._end(link, met)
            self._links.add(link)
            self.most_open = max(self.most_open, len(self._links))
            while await _Exchange(self, link).run():
                pass
        except _BrokenError:
            pass
        except (OSError, asyncio.IncompleteReadError, EOFError, ValueError):
            if link is not None:
                link.reset()
        finally:
            if link is not None:
                self._links.discard(link)
                link.close()

    async def _end(self, link: Link, action: Action) -> None:
        """Break a connection; never returns."""
        if action is Action.ALERT:
            await link.reader.read(1)
            link.writer.write(_ALERT)
            await link.writer.drain()
        if action in (Action.STALL, Action.HUSH):
            link.writer.transport.pause_reading()
            await asyncio.Event().wait()
        if action in (Action.RESET, Action.REFUSE):
            link.reset()
        else:
            link.close()
        raise _BrokenError

    async def strike(self, link: Link, fault: ProxyFault) -> None:
        """What a fault that breaks the connection does; never returns."""
        self.strikes.struck[fault] += 1
        if fault.on_connect is not None:
            self._on_connect, self._connects = fault.on_connect, fault.connects
            for other in self._links - {link}:
                other.reset()
            if fault.on_connect is Action.REFUSE:
                await self._refuse()
        await self._end(link, fault.action)

    def as_seen(self, head: Head) -> Head:
        """A head in which a door with TLS is addressed so: the registry behind it knows of none."""
        if self.tls is None:
            return head
        plain, secure = f"http://{self.address}", f"https://{self.address}"
        return Head(head.start, [(name, value.replace(plain, secure)) for name, value in head.fields])

    def new_upstream(self) -> tuple[str, int]:
        host, _, port = self._upstream.rpartition(":")
        return host, int(port)


_BREAKING = frozenset({Action.RESET, Action.CLOSE, Action.STALL})
_BODY_EDITS = frozenset({Action.FLIP, Action.SHORTEN, Action.LENGTHEN, Action.OVERSTATE, Action.UNDERSTATE})


class _Exchange:
    """One request and its answer."""

    def __init__(self, door: Door, link: Link) -> None:
        self._door = door
        self._link = link
        self._fault: ProxyFault | None = None
        self._size = 0
        self._target = ""
        self._answering: asyncio.Task[bool] | None = None

    def _at(self, moment: Moment, *actions: Action) -> ProxyFault | None:
        fault = self._fault
        if fault is None or fault.moment is not moment or (actions and fault.action not in actions):
            return None
        return fault

    async def run(self) -> bool:
        """Whether the connection may serve another one."""
        link, door = self._link, self._door
        try:
            first = await link.reader.readexactly(1)
        except asyncio.IncompleteReadError:
            return False
        if first == _TLS_HELLO:
            return False  # whoever tries TLS at a plain door
        head = await read_head(link.reader, first)
        method, target, _ = head.start.split(" ", 2)
        route = parse_route(method, unquote(target.partition("?")[0]))
        operation = route.kind.value
        length = body_length(head, for_request=True)
        self._size, self._target = length if length is not None else 1, target
        door.requests[operation] += 1
        door.history.append((operation, target))
        self._fault = fault = door.strikes.take(operation, target, self._size)
        if fault is not None and fault.moment is Moment.BEFORE_ANSWER:
            await self._swallow(head)
            return await self._answer_own(fault, method)
        upstream = await link.upstream_at(*door.new_upstream())
        sending = asyncio.ensure_future(self._send_request(head, upstream))
        self._answering = answering = asyncio.ensure_future(self._relay_answer(upstream, method, sending))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_EXCEPTION)
            for task in (sending, answering):
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            return await answering
        finally:
            for task in (sending, answering):
                task.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)

    async def _swallow(self, head: Head) -> None:
        if head.get("expect").lower() == "100-continue":
            self._link.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async for piece in pieces_of(self._link.reader, body_length(head, for_request=True)):
            self._door.bytes_up += len(piece)

    async def _answer_own(self, fault: ProxyFault, method: str) -> bool:
        """What the proxy does in place of the registry."""
        link = self._link
        if fault.action is not Action.ANSWER:
            await self._door.strike(link, fault)
        self._door.strikes.struck[fault] += 1
        own = f"http://{self._door.address}{self._target}"
        headers = [(name, value.replace("{self}", own)) for name, value in fault.headers]
        fields = [*headers, ("Content-Length", str(len(fault.body)))]
        head = Head(f"HTTP/1.1 {fault.status} On Purpose", fields)
        link.writer.write(head.raw() + (b"" if method == "HEAD" else fault.body))
        await link.writer.drain()
        return True

    async def _send_request(self, head: Head, upstream: Link) -> None:
        """Pass the request on."""
        door, link = self._door, self._link
        fault = self._at(Moment.REQUEST_BODY)
        length = body_length(head, for_request=True)
        pieces = pieces_of(link.reader, length)
        if fault is not None and fault.action in _BODY_EDITS:
            door.strikes.struck[fault] += 1
            body = b"".join([piece async for piece in pieces])
            head, edited = _edit(fault, head, body)
            door.bytes_up += len(body)
            if fault.action is Action.UNDERSTATE:
                edited = edited[: body_length(head, for_request=True)]
            upstream.writer.write(head.raw() + edited)
            await upstream.writer.drain()
            if fault.action is Action.OVERSTATE:
                upstream.close()
            return
        upstream.writer.write(head.raw())
        done = 0
        async for piece in pieces:
            rest, struck = piece, False
            if fault is not None and done + len(piece) >= fault.after_bytes:
                rest, struck = piece[: max(0, fault.after_bytes - done)], True
            link.up += len(rest)
            door.bytes_up += len(rest)
            if door.cut_up is not None and link.up > door.cut_up and self._may_cut():
                rest = rest[: len(rest) - (link.up - door.cut_up)]
                await self._pass_on(upstream, rest, chunked=length is None)
                await self._cut(upstream)
            await self._pass_on(upstream, rest, chunked=length is None)
            if struck and fault is not None:
                await self._strike_request(fault, upstream, piece[len(rest) :], pieces)
                fault = None
            done += len(piece)
        if length is None:
            upstream.writer.write(b"0\r\n\r\n")
        await upstream.writer.drain()

    async def _strike_request(
        self, fault: ProxyFault, upstream: Link, rest: bytes, pieces: AsyncIterator[bytes]
    ) -> None:
        door, link = self._door, self._link
        if fault.action is Action.TRICKLE:
            door.strikes.struck[fault] += 1
            step = max(1, int(fault.bytes_per_s * _TRICKLE_S))
            while rest:
                for begin in range(0, len(rest), step):
                    await self._pass_on(upstream, rest[begin : begin + step], chunked=False)
                    await asyncio.sleep(_TRICKLE_S)
                rest = await anext_or_empty(pieces)
            return
        if fault.action is Action.ANSWER:
            # Nobody relays an answer any more: the end of `upstream` would reset the client's connection, and take this
            # answer with it from a client that has not read it yet.
            if self._answering is not None:
                self._answering.cancel()
            upstream.close()
            await self._answer_own(fault, "")
            with suppress(asyncio.TimeoutError, OSError, EOFError):
                await asyncio.wait_for(_drain(pieces), _LINGER_S)
            link.close()
            raise _BrokenError
        if fault.action is not Action.STALL:
            upstream.close()
        await door.strike(link, fault)

    async def _pass_on(self, upstream: Link, piece: bytes, *, chunked: bool) -> None:
        if piece:
            upstream.writer.write(send_chunked(piece) if chunked else piece)
            await upstream.writer.drain()

    def _may_cut(self) -> bool:
        door = self._door
        if door.cut_times is not None and door.cuts >= door.cut_times:
            return False
        door.cuts += 1
        return True

    async def _cut(self, upstream: Link) -> None:
        """The connection has had its bytes: both sides lose it, each after it has got what was passed on."""
        upstream.close()
        await _until_sent(self._link)
        self._link.reset()
        raise _BrokenError

    async def _relay_answer(self, upstream: Link, method: str, sending: asyncio.Task[None]) -> bool:
        head = await self._answer_head(upstream)
        status = head.status
        empty = method == "HEAD" or status in (204, 304)
        chunked = not empty and "chunked" in head.coding
        length = 0 if empty else body_length(head, for_request=False)
        pieces = pieces_of(upstream.reader, length, until_end=length is None and not chunked)
        lost = self._at(Moment.LOST)
        if lost is not None:
            await _drain(pieces)
            if not sending.done():
                await asyncio.wait({sending})
            return await self._answer_own(lost, method)
        head, sent = await self._spoil_head(head)
        whole = self._at(Moment.ANSWER_BODY, *_BODY_EDITS) or self._at(Moment.AFTER, Action.TWICE)
        if whole is not None:
            return await self._send_spoilt(whole, head, b"".join([piece async for piece in pieces]))
        if not sent:
            self._link.writer.write(head.raw())
        await self._relay_body(pieces, upstream, chunked=chunked)
        after = self._at(Moment.AFTER, *_BREAKING)
        if after is not None:
            await _until_sent(self._link)
            await self._door.strike(self._link, after)
        if not sending.done():  # an answer before the end of the body: the rest of it is of no interest
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(sending), _LINGER_S)
            return False
        return (length is not None or chunked) and head.get("connection").lower() != "close"

    async def _answer_head(self, upstream: Link) -> Head:
        """The head of the registry's answer, after those that only say that one will come."""
        while True:
            head = await read_head(upstream.reader)
            if head.status >= 200:
                return self._door.as_seen(head)
            self._link.writer.write(head.raw())

    async def _spoil_head(self, head: Head) -> tuple[Head, bool]:
        """The head as a fault leaves it, and whether it has been sent."""
        door, link = self._door, self._link
        breaking = self._at(Moment.ANSWER_HEAD, *_BREAKING)
        if breaking is not None:
            raw = head.raw()
            link.writer.write(raw[: len(raw) // 2])
            await _until_sent(link)
            await door.strike(link, breaking)
        other = self._at(Moment.ANSWER_HEAD, Action.HEADERS)
        if other is not None:
            door.strikes.struck[other] += 1
            return head.with_fields(other.headers), False
        trickle = self._at(Moment.ANSWER_HEAD, Action.TRICKLE)
        if trickle is not None:
            door.strikes.struck[trickle] += 1
            await self._trickle(head.raw(), trickle)
        return head, trickle is not None

    async def _send_spoilt(self, fault: ProxyFault, head: Head, body: bytes) -> bool:
        """An answer with another body, or one that comes twice."""
        door, link = self._door, self._link
        door.strikes.struck[fault] += 1
        door.bytes_down += len(body)
        if fault.action is not Action.TWICE:
            head, body = _edit(fault, head, body)
        elif "chunked" in head.coding:
            head = head.without_coding(len(body))
        link.writer.write((head.raw() + body) * (2 if fault.action is Action.TWICE else 1))
        await link.writer.drain()
        if fault.action is Action.OVERSTATE:
            link.close()
            raise _BrokenError
        return True

    async def _relay_body(self, pieces: AsyncIterator[bytes], upstream: Link, *, chunked: bool) -> None:
        door, link = self._door, self._link
        fault = self._at(Moment.ANSWER_BODY)
        slow: ProxyFault | None = None
        done = 0
        async for piece in pieces:
            rest = piece
            if fault is not None and slow is None and done + len(piece) >= fault.after_bytes:
                rest = piece[: max(0, fault.after_bytes - done)]
            if door.cut_down is not None and link.down + len(rest) > door.cut_down and self._may_cut():
                rest = rest[: door.cut_down - link.down]
                await self._deliver(rest, slow, chunked=chunked)
                await self._cut(upstream)
            await self._deliver(rest, slow, chunked=chunked)
            if len(rest) < len(piece) and fault is not None and slow is None:
                if fault.action is not Action.TRICKLE:
                    await _until_sent(link)
                    upstream.close()
                    await door.strike(link, fault)
                slow = fault
                door.strikes.struck[fault] += 1
                await self._deliver(piece[len(rest) :], slow, chunked=chunked)
            done += len(piece)
        if chunked:
            link.writer.write(b"0\r\n\r\n")
        await link.writer.drain()

    async def _deliver(self, piece: bytes, slow: ProxyFault | None, *, chunked: bool) -> None:
        link = self._link
        if not piece:
            await link.writer.drain()
            return
        link.down += len(piece)
        self._door.bytes_down += len(piece)
        framed = send_chunked(piece) if chunked else piece
        if slow is not None:
            await self._trickle(framed, slow)
        else:
            link.writer.write(framed)
            await link.writer.drain()

    async def _trickle(self, data: bytes, fault: ProxyFault) -> None:
        step = max(1, int(fault.bytes_per_s * _TRICKLE_S))
        for begin in range(0, len(data), step):
            self._link.writer.write(data[begin : begin + step])
            await self._link.writer.drain()
            await asyncio.sleep(_TRICKLE_S)


def _edit(fault: ProxyFault, head: Head, body: bytes) -> tuple[Head, bytes]:
    """Head and body as the fault leaves them."""
    promised = len(body)
    if fault.action is Action.FLIP and body:
        place = min(fault.after_bytes, len(body) - 1)
        body = body[:place] + bytes([body[place] ^ 0x01]) + body[place + 1 :]
    elif fault.action is Action.SHORTEN:
        body = body[: max(0, len(body) - len(_EXTRA))]
        promised = len(body)
    elif fault.action is Action.LENGTHEN:
        body += _EXTRA
        promised = len(body)
    elif fault.action is Action.OVERSTATE:
        promised += len(_EXTRA)
    elif fault.action is Action.UNDERSTATE:
        promised = max(0, promised - len(_EXTRA))
    return head.without_coding(promised), body


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


async def anext_or_empty(pieces: AsyncIterator[bytes]) -> bytes:
    """The next piece, or nothing at the end."""
    async for piece in pieces:
        return piece
    return b""


async def _until_sent(link: Link) -> None:
    """The client's kernel has everything: a reset takes nothing with it that was sent before."""
    with suppress(OSError):
        await link.writer.drain()
        connection = link.writer.get_extra_info("socket")
        while True:
            unsent = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
            if unsent == 0 and link.writer.transport.get_write_buffer_size() == 0:
                return
            if link.writer.transport.is_closing():
                return
            await asyncio.sleep(_DRAINED_POLL_S)


def _bound_listener() -> socket.socket:
    """A socket that listens, and keeps its port when it is shut down (only a port that `bind` names is kept)."""
    with _bound_to(0) as free:
        listener = _bound_to(free.getsockname()[1])
    listener.listen()
    return listener


def _bound_to(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


class FaultProxy:
    """The event loop, and the doors that were opened on it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._doors: list[Door] = []

    def call(self, work: object) -> None:
        """Run a coroutine on the loop and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result()  # type: ignore[arg-type]

    def open_door(
        self,
        upstream: str,
        *faults: ProxyFault,
        tls: ssl.SSLContext | None = None,
        weather: Weather | None = None,
        most_connections: int | None = None,
    ) -> Door:
        """One more address for the registry at `upstream` ("host:port")."""
        door = Door(self, upstream)
        door.tls, door.most_connections = tls, most_connections
        door.strikes = Strikes(faults, weather)
        self._doors.append(door)
        self.call(door._listen())
        return door

    def close(self) -> None:
        """Close all doors."""
        for door in self._doors:
            self.call(door.shut())


@contextmanager
def run_fault_proxy() -> Iterator[FaultProxy]:
    """A proxy that works until the block is left."""
    proxy = FaultProxy()
    thread = threading.Thread(target=proxy.loop.run_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        proxy.loop.call_soon_threadsafe(proxy.loop.stop)
        thread.join()
        proxy.loop.close()
