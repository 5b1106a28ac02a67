"""HTTP/1.1 as it goes over a wire: heads, and where bodies end (RFC 9112). For a proxy that changes little of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable

__all__ = ["Head", "Link", "body_length", "pieces_of", "read_head", "send_chunked"]

_LIMIT_BYTES = 256 * 1024
_PIECE_BYTES = 256 * 1024
_LINGER_OFF = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Head:
    """The first line and the header fields of a request or an answer."""

    start: str
    fields: list[tuple[str, str]]

    def get(self, name: str) -> str:
        """The first field of that name (in lower case), or nothing."""
        return next((value for field, value in self.fields if field.lower() == name), "")

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start.split(" ", 2)[1])

    @property
    def coding(self) -> str:
        """Transfer-Encoding."""
        return self.get("transfer-encoding").lower()

    def raw(self) -> bytes:
        """As it is sent."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def with_fields(self, fields: Iterable[tuple[str, str]]) -> Head:
        """With these in place of those of the same names; an empty value takes a field away."""
        new = {name.lower(): (name, value) for name, value in fields}
        kept = [item for item in self.fields if item[0].lower() not in new]
        return replace(self, fields=[*kept, *(item for item in new.values() if item[1])])

    def without_coding(self, length: int) -> Head:
        """With a Content-Length and no Transfer-Encoding."""
        return self.with_fields([("Transfer-Encoding", ""), ("Content-Length", str(length))])


async def read_head(reader: asyncio.StreamReader, first: bytes = b"") -> Head:
    """The next head. Raises IncompleteReadError where the connection ends, ValueError where it is none."""
    raw = first + await reader.readuntil(b"\r\n\r\n")
    start, *lines = raw[:-4].decode("latin-1").split("\r\n")
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        fields.append((name.strip(), value.strip()))
    if "HTTP/" not in start:
        raise ValueError(start)
    return Head(start, fields)


def body_length(head: Head, *, for_request: bool) -> int | None:
    """Bytes of the body by its head; None where its end is found otherwise (chunks, the end of the connection)."""
    if "chunked" in head.coding:
        return None
    length = head.get("content-length")
    if length:
        return int(length)
    return 0 if for_request else None


async def pieces_of(
    reader: asyncio.StreamReader, length: int | None, *, until_end: bool = False
) -> AsyncIterator[bytes]:
    """The bytes of a body of `length`; with None, of one in chunks, or with `until_end` of one that the end of the
    connection ends. Raises IncompleteReadError where the connection ends before the body.
    """
    if length is not None:
        left = length
        while left:
            piece = await reader.read(min(left, _PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
        return
    if until_end:
        while piece := await reader.read(_PIECE_BYTES):
            yield piece
        return
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readuntil(b"\r\n")).strip():
        pass


def send_chunked(piece: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)


class Link:
    """One connection, and of a client's the one to the registry behind it. `up` and `down` are bytes of bodies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.up = self.down = 0
        self._upstream: Link | None = None

    @classmethod
    async def over(cls, connection: socket.socket, tls: ssl.SSLContext | None) -> Link:
        """Over a connection that was accepted."""
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = asyncio.StreamReader(limit=_LIMIT_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def upstream_at(self, host: str, port: int) -> Link:
        """The connection to the registry, which lasts as long as this one."""
        if self._upstream is None:
            self._upstream = Link(*await asyncio.open_connection(host, port, limit=_LIMIT_BYTES))
        return self._upstream

    def reset(self) -> None:
        """End it with RST: what is still unsent is lost."""
        connection = self.writer.get_extra_info("socket")
        if connection is not None and not self.writer.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        self.writer.transport.abort()
        if self._upstream is not None:
            self._upstream.close()

    def close(self) -> None:
        """End it with FIN, after what is still unsent."""
        if not self.writer.transport.is_closing():
            self.writer.close()
        if self._upstream is not None:
            self._upstream.close()
