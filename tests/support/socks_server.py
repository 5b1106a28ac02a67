"""A SOCKS5 proxy (RFC 1928), with user name and password (RFC 1929) if wanted: CONNECT and nothing else."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from support.connect_proxy import pump

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_VERSION, _LOGIN_VERSION, _CONNECT = 5, 1, 1
_OPEN, _LOGIN, _NO_METHOD = 0, 2, 0xFF
_IPV4, _NAME, _IPV6 = 1, 3, 4
_DONE, _UNREACHABLE = 0, 4


class SocksServer:
    """Listens on `address`; `targets` are the "host:port" that it was asked for, as they were written.

    `names` says where hosts are that nobody else knows. With `login` it wants that user name and password.
    """

    def __init__(self, names: Mapping[str, str], login: tuple[str, str] | None) -> None:
        self._names = names
        self._login = login
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.targets: list[str] = []

    def serve(self) -> None:
        """Returns when it is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve_one(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client:
            if not self._let_in(client):
                return
            host, port = _read_target(client)
            self.targets.append(f"{host}:{port}")
            place = self._names.get(f"{host}:{port}", f"{host}:{port}")
            try:
                server = socket.create_connection((place.rpartition(":")[0], int(place.rpartition(":")[2])))
            except OSError:
                client.sendall(bytes([_VERSION, _UNREACHABLE, 0, _IPV4]) + bytes(6))
                return
            with server:
                client.sendall(bytes([_VERSION, _DONE, 0, _IPV4]) + bytes(6))
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()

    def _let_in(self, client: socket.socket) -> bool:
        version, count = _read(client, 2)
        methods = _read(client, count)
        wanted = _LOGIN if self._login else _OPEN
        method = wanted if version == _VERSION and wanted in methods else _NO_METHOD
        client.sendall(bytes([_VERSION, method]))
        if method != _LOGIN:
            return method == _OPEN
        _read(client, 1)
        user, password = (_read(client, _read(client, 1)[0]).decode() for _ in range(2))
        right = (user, password) == self._login
        client.sendall(bytes([_LOGIN_VERSION, not right]))
        return right


def _read_target(client: socket.socket) -> tuple[str, int]:
    _, command, _, kind = _read(client, 4)
    assert command == _CONNECT
    if kind == _NAME:
        host = _read(client, _read(client, 1)[0]).decode("ascii")
    else:
        family, size = (socket.AF_INET, 4) if kind == _IPV4 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, _read(client, size))
    return host, int.from_bytes(_read(client, 2), "big")


def _read(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = client.recv(size - len(found))
        if not chunk:
            raise EOFError
        found += chunk
    return found


@contextmanager
def run_socks_server(
    names: Mapping[str, str] | None = None, login: tuple[str, str] | None = None
) -> Iterator[SocksServer]:
    """A proxy that serves until the block is left."""
    server = SocksServer(names or {}, login)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
