"""Recipes for libcurl's easy handles: what every request has in common, and what downloads and uploads add.

Handles are expensive to make and cheap to reset, so a pool keeps them. Connections belong to the multi handle, and
outlive the handle that opened them. Nothing here follows redirects or decodes bodies: whether credentials may go along
is decided in one place (`client.py`), and a digest covers the bytes as they are stored.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pycurl

from image_syncer.net.network_options import network_kind, own_headers, set_network, set_trust
from image_syncer.registry import DIRECT, Headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.net.network_options import NetworkKind
    from image_syncer.registry import Endpoint, Request

__all__ = [
    "AnswerHead",
    "HandlePool",
    "header_lines",
    "parse_head",
    "set_download",
    "set_lasting",
    "set_method",
    "set_request",
    "set_upload",
]

USER_AGENT = "image-syncer"
DOWNLOAD_BUFFER_BYTES = 64 * 1024
"""CURLOPT_BUFFERSIZE: what stays in the core's cache is cheaper (measured: 64 KiB with uploads of 256 KiB was best)."""
UPLOAD_BUFFER_BYTES = 256 * 1024
"""CURLOPT_UPLOAD_BUFFERSIZE: one send for each piece. libcurl allocates it anew for every upload."""
LEAST_UPLOAD_BUFFER_BYTES = 16 * 1024
"""libcurl takes no less."""
SUPPRESS_CONNECT_HEADERS = 265
"""CURLOPT_SUPPRESS_CONNECT_HEADERS(3), a number of libcurl's ABI: PycURL has no name for it."""


class AnswerHead:
    """Status and header fields of an answer, collected from libcurl's header callback.

    Interim answers (1xx) are dropped. `on_head` is called once, from inside the callback, when a final head is
    complete.
    """

    __slots__ = ("_lines", "_on_head", "complete", "status")

    def __init__(self, on_head: Callable[[], None] | None = None) -> None:
        self._lines: list[bytes] = []
        self._on_head = on_head
        self.status = 0
        self.complete = False

    def take(self, line: bytes) -> int | None:
        """CURLOPT_HEADERFUNCTION."""
        if line.startswith(b"HTTP/"):
            self._lines.clear()
            self.status = _status_of(line)
            return None
        if line.strip():
            self._lines.append(line)
            return None
        if self.status >= 200 and not self.complete:  # noqa: PLR2004 - 1xx are interim
            self.complete = True
            if self._on_head is not None:
                self._on_head()
        return None

    @property
    def headers(self) -> Headers:
        """The header fields so far."""
        return Headers.of_lines(list(self._lines))


def parse_head(lines: list[bytes]) -> tuple[int, Headers]:
    """Status and header fields from every line that libcurl's header callback was given for an answer.

    Interim answers (1xx) are dropped; a status that is no number is 0.
    """
    began = status = 0
    for number, line in enumerate(lines):
        if line.startswith(b"HTTP/"):
            began, status = number + 1, _status_of(line)
            if status >= 200:  # noqa: PLR2004 - 1xx are interim; after the final head come only trailers
                break
    return status, Headers.of_lines(lines[began:])


def _status_of(line: bytes) -> int:
    parts = line.split(None, 2)
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


class HandlePool:
    """Easy handles that are used again."""

    def __init__(self) -> None:
        self._free: list[pycurl.Curl] = []

    def take(self) -> pycurl.Curl:
        """A handle with libcurl's defaults."""
        return self._free.pop() if self._free else pycurl.Curl()

    def give_back(self, easy: pycurl.Curl) -> None:
        """Return a handle that no multi handle runs; what it was set up for is forgotten."""
        easy.reset()
        self._free.append(easy)

    def close(self) -> None:
        """Free every handle."""
        for easy in self._free:
            easy.close()
        self._free.clear()


def set_request(
    easy: pycurl.Curl,
    request: Request,
    endpoint: Endpoint,
    head: AnswerHead,
    *,
    authorization: str | None,
    connect_timeout_s: float,
) -> None:
    """What every request has: address, method, header fields, trust, time to connect."""
    kind = None if endpoint.network is DIRECT else network_kind(endpoint, request.url)
    headers = request.headers if kind is None else (*request.headers, *own_headers(kind))
    set_lasting(easy, endpoint, kind, connect_timeout_s=connect_timeout_s)
    set_method(easy, request)
    easy.setopt(pycurl.URL, request.url)
    easy.setopt(pycurl.HEADERFUNCTION, head.take)
    easy.setopt(pycurl.HTTPHEADER, header_lines(headers, authorization))


def set_lasting(easy: pycurl.Curl, endpoint: Endpoint, kind: NetworkKind | None, *, connect_timeout_s: float) -> None:
    """What requests to registries that are trusted and reached alike have in common."""
    setopt = easy.setopt
    setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    setopt(pycurl.USERAGENT, USER_AGENT)
    setopt(pycurl.NOSIGNAL, 1)
    setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    setopt(pycurl.CONNECTTIMEOUT_MS, int(connect_timeout_s * 1000))
    setopt(pycurl.TCP_KEEPALIVE, 1)
    setopt(SUPPRESS_CONNECT_HEADERS, 1)  # a proxy's 200 to CONNECT is not the registry's answer
    set_trust(easy, endpoint)
    if kind is not None:
        set_network(easy, kind)


def header_lines(headers: tuple[tuple[str, str], ...], authorization: str | None) -> list[str]:
    """CURLOPT_HTTPHEADER: the fields of a request, and what keeps libcurl from adding some of its own."""
    fields = [f"{name}: {value}" for name, value in headers if name != "Content-Length"]
    # libcurl would ask leave first for larger bodies (RFC 9110 section 10.1.1), which costs up to a second
    # where the server says nothing.
    fields += ["Expect:", "Accept-Encoding: identity"]
    if not any(name.lower() == "content-type" for name, _ in headers):
        fields.append("Content-Type:")  # or libcurl calls the body of a POST a form
    if authorization is not None:
        fields.append(f"Authorization: {authorization}")
    return fields


def set_download(easy: pycurl.Curl, receive: Callable[[memoryview], int | None]) -> None:
    """The body goes to `receive` as views of libcurl's own buffer, which are good until it returns."""
    easy.setopt(pycurl.BUFFERSIZE, DOWNLOAD_BUFFER_BYTES)
    easy.setopt(pycurl.WRITEFUNCTION, receive, use_memoryview=True)


def set_upload(
    easy: pycurl.Curl, size: int, send: Callable[[int], memoryview | bytes | int], rewind: Callable[[], bool]
) -> None:
    """The body of `size` bytes comes from `send`.

    A kept connection that the server closes just then is noticed only after bytes went into it. libcurl takes a new
    one where `rewind` says that `send` begins again, and fails (CURLE_SEND_FAIL_REWIND) where it cannot.
    """

    def seek(offset: int, origin: int) -> int:
        done = offset == 0 and origin == os.SEEK_SET and rewind()
        return int(pycurl.SEEKFUNC_OK if done else pycurl.SEEKFUNC_FAIL)

    easy.setopt(pycurl.UPLOAD, 1)
    easy.setopt(pycurl.INFILESIZE_LARGE, size)
    easy.setopt(pycurl.UPLOAD_BUFFERSIZE, max(LEAST_UPLOAD_BUFFER_BYTES, min(UPLOAD_BUFFER_BYTES, size)))
    easy.setopt(pycurl.READFUNCTION, send)
    easy.setopt(pycurl.SEEKFUNCTION, seek)


def set_method(easy: pycurl.Curl, request: Request) -> None:
    """The method, and a body that is in memory."""
    method = request.method
    if method == "HEAD":
        easy.setopt(pycurl.NOBODY, 1)
    elif request.body is not None or method == "POST":
        body = request.body or b""
        easy.setopt(pycurl.POST, 1)
        easy.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
        easy.setopt(pycurl.COPYPOSTFIELDS, body)
        easy.setopt(pycurl.CUSTOMREQUEST, method)
    elif method not in ("GET", "PUT"):
        easy.setopt(pycurl.CUSTOMREQUEST, method)
