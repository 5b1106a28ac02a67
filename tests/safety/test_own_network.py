"""What belongs to one registry stays with it: its header fields, its client certificate, and TLS once it was spoken."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import Destination, RegistryEntry
from image_syncer.embedded import serve_in_thread
from image_syncer.errors import TransportError
from image_syncer.net import (
    CurlDriver,
    Timeouts,
    Transport,
)
from image_syncer.oci import Repository
from image_syncer.registry import Endpoint, Network, RedirectPolicy, build_ping
from support.certificates import make_certificates, make_client_certificate
from support.connect_proxy import pump, run_connect_proxy
from support.sync_runs import REPOSITORY, SyncLab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.certificates import Certificates

SECRET = "hunter2hunter2"
HEADERS = (("X-Tenant", SECRET),)
ANYWHERE = RedirectPolicy(local=True)


class Listener:
    """An HTTP server, and what it was shown: the header fields of each request, and whether there was a certificate."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.headers: list[dict[str, str]] = []
        self.certificates: list[bool] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                listener.headers.append({name.lower(): value for name, value in self.headers.items()})
                if isinstance(self.connection, ssl.SSLSocket):
                    listener.certificates.append(self.connection.getpeercert() is not None)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{scheme}://{self.address}"

    def serve(self) -> None:
        """Returns when it is closed."""
        self._server.serve_forever()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[Listener]:
    listener = Listener(context)
    threading.Thread(target=listener.serve, daemon=True).start()
    try:
        yield listener
    finally:
        listener.close()


@pytest.mark.parametrize("body", [None, b"x"], ids=["kept handles", "a body"])
def test_header_fields_go_to_the_registry_alone(body: bytes | None) -> None:
    """The handles of small requests are used for both in turn."""

    async def scenario(own: Listener, other: Listener) -> None:
        endpoint = Endpoint("registry.test", own.url, network=Network(headers=HEADERS), redirects=ANYWHERE)
        transport = Transport(CurlDriver(), Timeouts())
        request = build_ping(endpoint)._replace(method="GET" if body is None else "POST", body=body)
        for server in (own, other, own, other):
            response = await transport.perform(request._replace(url=f"{server.url}/v2/"), endpoint, authorization="A b")
            assert response.status == 200

    with listening() as own, listening() as other:
        asyncio.run(scenario(own, other))
        assert [fields.get("x-tenant") for fields in own.headers] == [SECRET] * 2
        assert [fields.get("x-tenant") for fields in other.headers] == [None] * 2


def test_a_client_certificate_is_shown_to_the_registry_alone(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certificates")
    certificate, key = make_client_certificate(made)
    context = made.server_context()
    context.load_verify_locations(made.authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    network = Network(client_cert=str(certificate), client_key=str(key))

    async def scenario(own: Listener, other: Listener) -> None:
        endpoint = Endpoint("r.test", own.url, ca_file=str(made.authority), network=network, redirects=ANYWHERE)
        transport = Transport(CurlDriver(), Timeouts())
        for server in (own, other, own):
            request = build_ping(endpoint)._replace(url=f"{server.url}/v2/")
            await transport.perform(request, endpoint)
            handle = transport.handles.take(request, endpoint, None, streamed=True)  # as blobs are asked for
            assert (await transport.driver.perform(handle.easy))[0] == 0
            transport.handles.give_back(handle)

    with listening(context) as own, listening(context) as other:
        asyncio.run(scenario(own, other))
        assert own.certificates == [True] * 4
        assert other.certificates == [False] * 2


def test_a_proxy_that_is_asked_for_a_tunnel_sees_no_header_of_the_registry() -> None:
    endpoint = Endpoint("registry.test", "https://registry.test", network=Network(headers=HEADERS))

    async def scenario(proxy: str) -> None:
        own = Endpoint(endpoint.registry, endpoint.base_url, network=Network(proxy=proxy, headers=HEADERS))
        with pytest.raises(TransportError) as caught:
            await Transport(CurlDriver(), Timeouts()).perform(build_ping(own), own, authorization=f"Bearer {SECRET}")
        assert "response 403" in str(caught.value)

    with run_connect_proxy("403 Forbidden") as proxy:
        asyncio.run(scenario(proxy.url))
        [head] = proxy.heads
        assert SECRET.encode() not in head
        assert b"CONNECT registry.test:443" in head


@contextmanager
def turncoat(address: str, connections: int) -> Iterator[tuple[str, list[bytes]]]:
    """A door to `address` that speaks TLS no more after so many connections; its own address, and the first bytes of
    each later connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    first_bytes: list[bytes] = []
    host, _, port = address.rpartition(":")

    def serve_one(client: socket.socket, number: int) -> None:
        with suppress(OSError), client:
            if number < connections:
                with socket.create_connection((host, int(port))) as server:
                    back = threading.Thread(target=pump, args=(server, client), daemon=True)
                    back.start()
                    pump(client, server)
                    back.join()
                return
            first_bytes.append(client.recv(65536))
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def serve() -> None:
        with suppress(OSError):
            number = 0
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve_one, args=(client, number), daemon=True).start()
                number += 1

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", first_bytes
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "certificates")


@pytest.mark.parametrize("insecure", [True, False], ids=["insecure", "ca_file"])
def test_a_registry_that_stops_speaking_tls_is_not_asked_in_plain_http(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, *, insecure: bool
) -> None:
    """Although `insecure` would allow plain HTTP to a registry that never spoke TLS in this run."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with ExitStack() as stack:
        lab = SyncLab(stack, tmp_path)
        guarded = stack.enter_context(serve_in_thread(ssl_context=certificates.server_context()))
        # The probe of `insecure` is a connection of its own.
        address, first_bytes = stack.enter_context(turncoat(guarded.address, 2 if insecure else 1))
        settings: dict[str, Any] = {"insecure": True} if insecure else {"ca_file": str(certificates.authority)}
        lab._entries[address] = RegistryEntry(address, None, **settings)
        lab.image(4)
        rule = replace(lab.rule(), destinations=(Destination(Repository(address, REPOSITORY)),))
        lab.run(rule, exit_code=1, retries=1, give_up_after_s=1.0)
    assert first_bytes
    assert {chunk[:1] for chunk in first_bytes} <= {b"\x16", b""}  # a TLS hello, or nothing
