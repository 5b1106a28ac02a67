"""Easy handles for small requests, which stay set up: what a request costs is mostly what is said to libcurl anew.

Requests of one method to registries that are trusted alike share their handles. Of a kept handle only the address is
set for each request, and the header fields where they are not exactly those of the request before; so whatever one
request was sent with, another on the same handle is sent with its own fields and no others. What has a body of its own
to send goes out on a handle that is reset for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from image_syncer.net.handles import header_lines, parse_head, set_lasting, set_method
from image_syncer.net.network_options import network_kind, own_headers
from image_syncer.registry import DIRECT, Response

if TYPE_CHECKING:
    from image_syncer.net.network_options import NetworkKind
    from image_syncer.net.transport import Timeouts
    from image_syncer.registry import Endpoint, Request

__all__ = ["SmallHandle", "SmallHandles"]

MAX_BODY_BYTES = 8 * 2**20
"""Manifests have up to 4 MiB, tag lists of registries that ignore paging some more; a bound against hostile servers."""

_BLANK = (b"\r\n", b"\n")

_Kind = tuple[str, bool, bool, "str | None", "NetworkKind | None"]
"""Method, whether there is a body at all, whether certificates are verified and by whose authority, the network."""


class SmallHandle:
    """One easy handle, and the answer that it takes in, which is whole in memory and bounded."""

    __slots__ = ("_body", "_extra", "_fields", "_lines", "easy", "kind")

    def __init__(self, kind: _Kind | None) -> None:
        self.kind = kind
        self.easy = pycurl.Curl()
        self._lines: list[bytes] = []
        self._body = bytearray()
        self._fields: tuple[tuple[tuple[str, str], ...], str | None] | None = None
        self._extra: tuple[tuple[str, str], ...] = ()

    def prepare(self, request: Request, endpoint: Endpoint, network: NetworkKind | None, timeouts: Timeouts) -> None:
        """Say everything that requests of this kind have in common."""
        easy = self.easy
        set_lasting(easy, endpoint, network, connect_timeout_s=timeouts.connect_s)
        self._extra = () if network is None else own_headers(network)
        set_method(easy, request)
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, self._receive)
        easy.setopt(pycurl.TIMEOUT_MS, int(timeouts.request_s * 1000))
        easy.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        easy.setopt(pycurl.LOW_SPEED_TIME, max(1, int(timeouts.stall_s)))

    def aim(self, request: Request, authorization: str | None) -> None:
        """Say what this request has for itself."""
        fields = (request.headers, authorization)
        if fields != self._fields:
            headers = (*request.headers, *self._extra) if self._extra else request.headers
            self.easy.setopt(pycurl.HTTPHEADER, header_lines(headers, authorization))
            self._fields = fields
        self.easy.setopt(pycurl.URL, request.url)

    def take_answer(self, url: str) -> Response:
        """What has come for the request to `url`."""
        status, headers = parse_head(self._lines)
        return Response(status, headers, bytes(self._body), url)

    @property
    def is_whole(self) -> bool:
        """Whether the head has come to its end: libcurl takes one that a closed connection cuts off for a whole one."""
        lines = self._lines
        if not lines or lines[-1] in _BLANK:  # nearly always; else there are trailers, or it was cut off
            return bool(lines)
        finals = [number for number, line in enumerate(lines) if line.startswith(b"HTTP/") and line[9:10] != b"1"]
        return bool(finals) and any(line in _BLANK for line in lines[finals[0] :])

    def clear(self) -> None:
        """Forget what has come, and where the handle is of no kind, what was sent."""
        self._lines.clear()
        self._body.clear()
        if self.kind is None:
            self.easy.reset()
            self._fields = None

    def _receive(self, chunk: bytes) -> int | None:
        """CURLOPT_WRITEFUNCTION; -1 ends the transfer with CURLE_WRITE_ERROR."""
        if len(self._body) + len(chunk) > MAX_BODY_BYTES:
            return -1
        self._body += chunk
        return None


class SmallHandles:
    """Keeps handles that are not in use, each for the kind of request that it is set up for."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._free: dict[_Kind | None, list[SmallHandle]] = {}

    def take(self, request: Request, endpoint: Endpoint, authorization: str | None) -> SmallHandle:
        """A handle that is ready to send `request`."""
        body = request.body
        network = None if endpoint.network is DIRECT else network_kind(endpoint, request.url)
        kind = None if body else (request.method, body is None, endpoint.verify, endpoint.ca_file, network)
        free = self._free.get(kind)
        if free:
            handle = free.pop()
            if kind is None:
                handle.prepare(request, endpoint, network, self._timeouts)
        else:
            handle = SmallHandle(kind)
            handle.prepare(request, endpoint, network, self._timeouts)
        handle.aim(request, authorization)
        return handle

    def give_back(self, handle: SmallHandle) -> None:
        """Keep a handle that no multi handle runs."""
        handle.clear()
        self._free.setdefault(handle.kind, []).append(handle)
