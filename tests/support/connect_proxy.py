"""A forward proxy that knows CONNECT and nothing else, as companies have them in front of the internet."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

_HEAD_END = b"\r\n\r\n"


class ConnectProxy:
    """Listens on `url`; `targets` are the "host:port" that it was asked for. With `refusal`, a status line, it lets
    nobody through. `names` says where those are that nobody else knows. With `context` the way to it is encrypted.
    """

    def __init__(self, refusal: str | None, names: Mapping[str, str], context: ssl.SSLContext | None) -> None:
        self._context = context
        self.names = names
        self._refusal = refusal
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.targets: list[str] = []
        self.heads: list[bytes] = []
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Returns when it is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _tunnel(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            head = b""
            while _HEAD_END not in head:
                chunk = client.recv(4096)
                if not chunk:
                    return
                head += chunk
            self.heads.append(head)
            target = head.split(b" ")[1].decode("ascii")
            self.targets.append(target)
            if self._refusal is not None:
                client.sendall(f"HTTP/1.1 {self._refusal}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            host, _, port = self.names.get(target, target).rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes to the end of `source`."""
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def run_connect_proxy(
    refusal: str | None = None,
    *,
    names: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Iterator[ConnectProxy]:
    """A proxy that serves until the block is left."""
    proxy = ConnectProxy(refusal, {} if names is None else names, context)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
