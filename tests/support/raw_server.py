"""A server whose answers a test writes byte by byte, for what no well-made registry would say."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from image_syncer.embedded import MadeManifest

    Answer = Callable[[str, str], Iterable[bytes] | None]
    """From method and path to the bytes to send, one `send` for each; None closes the connection."""

__all__ = ["RawServer", "chunked", "found", "serve_image", "serve_raw"]


TLS_HELLO = b"\x16"


@dataclass(frozen=True)
class RawServer:
    """A running one."""

    address: str


@contextmanager
def serve_raw(answer: Answer) -> Iterator[RawServer]:
    """Serve on loopback, each connection in a thread of its own, until the context ends."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=_talk, args=(connection, answer), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield RawServer(f"127.0.0.1:{listening.getsockname()[1]}")
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def _talk(connection: socket.socket, answer: Answer) -> None:
    with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
        if connection.recv(1, socket.MSG_PEEK) == TLS_HELLO:
            return  # who tries TLS first must not wait for an answer
        while line := stream.readline():
            method, path, _ = line.decode("latin-1").split()
            while stream.readline().strip():
                pass
            pieces = answer(method, path)
            if pieces is None:
                return
            for piece in pieces:
                connection.sendall(piece)


def found(body: bytes, **fields: str) -> bytes:
    """200 with a Content-Length; `fields` are further header fields, "_" for "-"."""
    lines = [f"Content-Length: {len(body)}", *(f"{name.replace('_', '-')}: {text}" for name, text in fields.items())]
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body


def chunked(*chunks: bytes) -> bytes:
    """200 without a Content-Length, the body in these chunks (RFC 9112, section 7.1)."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def serve_image(image: MadeManifest, tag: str, blob_answer: Callable[[str], Iterable[bytes] | None]) -> Answer:
    """The answers of a source that has one image; those to GET of a blob, by its digest, are the test's."""
    manifests = {str(manifest.digest): manifest for manifest in image.manifests()}

    def answer(method: str, path: str) -> Iterable[bytes] | None:
        target = path.rsplit("/", 1)[1]
        if "/blobs/" in path:
            return blob_answer(target)
        if "/manifests/" not in path:
            return [found(b"{}")]
        manifest = manifests[str(image.digest) if target == tag else target]
        whole = found(manifest.raw, Content_Type=str(manifest.media_type), Docker_Content_Digest=str(manifest.digest))
        return [whole if method == "GET" else whole[: -len(manifest.raw)]]

    return answer
