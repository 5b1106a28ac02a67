"""What a server and its site say to each other: a request, an answer, and what a site has to know to give one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections import Counter

__all__ = ["FileBody", "Request", "Site", "answer"]

REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 400: "Bad Request", 401: "Unauthorized"}
REASONS |= {404: "Not Found", 405: "Method Not Allowed", 416: "Range Not Satisfiable", 429: "Too Many Requests"}


class FileBody(NamedTuple):
    """A head, and the bytes of an open file that follow it; the file is closed when they are sent."""

    head: bytes
    descriptor: int
    offset: int
    length: int


class Request:
    """The head of a request. `path` is without the query, `headers` is all of the head as it came."""

    __slots__ = ("_lowered", "headers", "method", "path", "query")

    def __init__(self, head: str) -> None:
        line, _, self.headers = head.partition("\r\n")
        self.method, _, rest = line.partition(" ")
        self.path, _, self.query = rest.rpartition(" ")[0].partition("?")
        self._lowered = "\r\n" + self.headers.lower()

    def header(self, name: str) -> str | None:
        """The value of the first header of this (lower-case) name."""
        at = self._lowered.find(f"\r\n{name}:")
        if at < 0:
            return None
        at += len(name) + 1
        stop = self.headers.find("\r\n", at)
        return self.headers[at : stop if stop >= 0 else None].strip()

    @property
    def closes(self) -> bool:
        """Whether the client wants the connection closed after the answer."""
        return "\r\nconnection: close" in self._lowered

    @property
    def waits(self) -> bool:
        """Whether the client sends the body only when told to go on (RFC 9110, 10.1.1)."""
        return "\r\nexpect:" in self._lowered


def answer(status: int, headers: str = "", body: bytes = b"") -> bytes:
    """A whole answer; `headers` are lines that end with CRLF each."""
    length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"  # noqa: PLR2004 - RFC 9110, 8.6
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Answer')}\r\n{headers}{length}\r\n".encode() + body


class Site(Protocol):
    """What a server serves."""

    counts: Counter[str]

    def keeps(self, request: Request) -> bool:
        """Whether the body of this request is wanted, and not only its length."""
        ...

    def respond(self, request: Request, taken: int, body: bytes) -> bytes | FileBody:
        """The answer, when the body has come: `taken` bytes of it, `body` where it was wanted."""
        ...

    def broken(self, request: Request) -> None:
        """The connection ended within the body of this request."""
        ...
