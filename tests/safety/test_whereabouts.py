"""Requests to addresses that a registry handed out, down at the transport: which are sent, and which never connect.

Everything here is on loopback; that a registry is somewhere else is said to the transport.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import ProtocolViolation
from image_syncer.net import CurlDriver, Timeouts, Transport
from image_syncer.net.addresses import AddressKind, proxy_ports
from image_syncer.registry import Endpoint, RedirectPolicy, build_ping
from support.raw_server import found, serve_raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from image_syncer.registry import Response
    from support.raw_server import RawServer


class Service:
    """Something on this machine, and what it was asked."""

    def __init__(self, stack: ExitStack) -> None:
        self.asked: list[tuple[str, str]] = []
        self.server: RawServer = stack.enter_context(serve_raw(self._answer))

    @property
    def port(self) -> str:
        return self.server.address.rpartition(":")[2]

    def _answer(self, method: str, path: str) -> Iterable[bytes]:
        self.asked.append((method, path))
        return [found(b"{}")]


@pytest.fixture
def service() -> Iterator[Service]:
    with ExitStack() as stack:
        yield Service(stack)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


PUBLIC = Endpoint("registry.example", "https://registry.example")
LENIENT = Endpoint("lenient.example", "https://lenient.example", redirects=RedirectPolicy(local=True))


def new_transport(own: AddressKind | None = AddressKind.ORDINARY) -> Transport:
    transport = Transport(CurlDriver(), Timeouts(connect_s=5.0))
    if own is not None:
        transport._whereabouts.known = {PUBLIC.registry: own, LENIENT.registry: own}
    return transport


async def ask(transport: Transport, url: str, endpoint: Endpoint = PUBLIC) -> Response:
    return await transport.perform(build_ping(endpoint)._replace(url=url), endpoint)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "a.localhost"])
def test_this_machine_is_not_asked_for_a_registry_elsewhere(service: Service, host: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ProtocolViolation, match="which is this machine itself, where it is not itself") as caught:
            await ask(new_transport(), f"http://{host}:{service.port}/secret")
        assert "allow_local_redirects: true for registry.example" in str(caught.value.hint)
        assert not caught.value.retryable

    asyncio.run(scenario())
    assert service.asked == []


def test_a_name_is_judged_by_the_address_that_it_has(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the look at the name had seen nothing: a name of the registry's choice may have any address."""
    monkeypatch.setattr("image_syncer.net.addresses.kind_of_host", lambda _host: AddressKind.ORDINARY)

    async def scenario() -> None:
        with pytest.raises(ProtocolViolation, match=r"sends us on to (127\.0\.0\.1|::1), which is this machine"):
            await ask(new_transport(), f"http://localhost:{service.port}/secret")

    asyncio.run(scenario())
    assert service.asked == []


def test_a_connection_that_another_registry_was_allowed_is_not_used(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("image_syncer.net.addresses.kind_of_host", lambda _host: AddressKind.ORDINARY)
    url = f"http://127.0.0.1:{service.port}/shared"

    async def scenario() -> None:
        transport = new_transport()
        assert (await ask(transport, url, LENIENT)).status == 200
        with pytest.raises(ProtocolViolation, match="which is this machine itself"):
            await ask(transport, url)
        # and the guard does not stay on the handle
        assert (await ask(transport, url, LENIENT)).status == 200

    asyncio.run(scenario())
    assert service.asked == [("GET", "/shared")] * 2


@pytest.mark.parametrize("own", [AddressKind.LOOPBACK, None])
def test_a_registry_on_this_machine_may_send_us_to_it(service: Service, own: AddressKind | None) -> None:
    """Where nothing is known of it (None), it is asked first where it is."""

    async def scenario() -> None:
        with ExitStack() as stack:
            registry = Service(stack)
            here = Endpoint(PUBLIC.registry, f"http://{registry.server.address}")
            assert (await ask(new_transport(own), f"http://localhost:{service.port}/b", here)).status == 200
            assert registry.asked == ([("GET", "/v2/")] if own is None else [])

    asyncio.run(scenario())
    assert service.asked == [("GET", "/b")]


@pytest.mark.parametrize("address", ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[fe80::1]"])
def test_nobody_on_this_machine_may_send_us_to_a_cloud(service: Service, address: str) -> None:
    async def scenario() -> None:
        here = Endpoint(PUBLIC.registry, f"http://{service.server.address}")
        transport = new_transport(None)
        await ask(transport, f"http://{service.server.address}/v2/", here)
        with pytest.raises(ProtocolViolation, match=r"metadata service|link-local"):
            await ask(transport, f"http://{address}/latest/meta-data/", here)

    asyncio.run(scenario())


def test_behind_a_proxy_names_and_literals_count(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is on this machine, which says nothing of where the registry is."""
    monkeypatch.setenv("http_proxy", f"http://{service.server.address}")
    registry = Endpoint("registry.example", "http://registry.example")

    async def scenario() -> None:
        transport = new_transport(None)
        assert (await ask(transport, "http://registry.example/v2/", registry)).status == 200
        assert transport._whereabouts.known == {"registry.example": AddressKind.ORDINARY}
        assert (await ask(transport, "http://storage.example/b", registry)).status == 200
        for host in ("localhost", "metadata.google.internal", "2852039166", "127.0.0.1:8080", "[::1]"):
            with pytest.raises(ProtocolViolation, match="sends us on to"):
                await ask(transport, f"http://{host}/secret", registry)

    asyncio.run(scenario())
    assert service.asked == [("GET", "http://registry.example/v2/"), ("GET", "http://storage.example/b")]


def test_what_does_not_go_through_the_proxy_is_judged_by_its_address(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setattr("image_syncer.net.addresses.kind_of_host", lambda _host: AddressKind.ORDINARY)

    async def scenario() -> None:
        with pytest.raises(ProtocolViolation, match="this machine"):
            await ask(new_transport(), f"http://localhost:{service.port}/secret")

    asyncio.run(scenario())
    assert service.asked == []


@pytest.mark.parametrize(
    ("environ", "ports"),
    [
        ({}, set()),
        ({"http_proxy": "http://p:3128", "HTTPS_PROXY": "p:8080"}, {3128, 8080}),
        ({"HTTP_PROXY": "http://p:3128"}, set()),
        ({"all_proxy": "socks5h://p", "https_proxy": ""}, {1080}),
        ({"https_proxy": "http://p:nonsense"}, set()),
    ],
)
def test_proxies_of_the_environment(environ: dict[str, str], ports: set[int]) -> None:
    assert proxy_ports(environ) == ports
