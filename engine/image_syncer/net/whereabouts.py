"""Where registries are, and where they may not send us: a request to an address that a registry handed out does not go
to this machine, to a link-local address or to the metadata service of a cloud, unless the registry is there itself or
the user allowed it.

What counts is the address that is connected to, since a name may have any: libcurl asks before it opens a connection
(CURLOPT_OPENSOCKETFUNCTION), and again when it is about to send over one, which may be one that was opened for another
registry (CURLOPT_PREREQFUNCTION). Where a proxy connects, its address is all that we see, so the host as it is written
is looked at as well. Requests to a registry's own address are what the user asked for, and pay nothing here.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pycurl

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.net.addresses import AddressKind, kind_of_address, kind_of_host
from image_syncer.registry import NO_PROXY, may_carry_credentials, origin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from image_syncer.net.multi import CurlDriver
    from image_syncer.registry import Endpoint, Request

__all__ = ["Whereabouts", "proxy_ports"]

USED_PROXY = 0x200000 + 66
"""CURLINFO_USED_PROXY(3), since libcurl 8.7; PycURL has no name for it."""
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Those that libcurl reads (libcurl-env(3)); HTTP_PROXY is none, because a CGI's client could set it."""
_DEFAULT_PROXY_PORT = 1080


class Whereabouts:
    """Where each registry was found to be, and the guard over requests that go elsewhere.

    `ask(endpoint)` asks a registry anything, so that it is found; whatever goes wrong with that is passed over there.
    """

    def __init__(self, driver: CurlDriver, ask: Callable[[Endpoint], Awaitable[None]]) -> None:
        self._driver = driver
        self._ask = ask
        self.known: dict[str, AddressKind] = {}
        """By registry, what the address of its first answer was."""
        self._proxy_ports = proxy_ports(os.environ)

    async def perform(self, easy: pycurl.Curl, request: Request, endpoint: Endpoint, origin: Origin) -> tuple[int, str]:
        """`CurlDriver.perform` for a request to an address that the registry handed out, or for the first ones to the
        registry itself.

        Raises `ProtocolViolation` where it may not be asked; nothing has been sent then.
        """
        if may_carry_credentials(endpoint.base_url, request.url):
            code, words = await self._driver.perform(easy)
            if not code and endpoint.registry not in self.known:
                self.known[endpoint.registry] = _kind_of_peer(easy, endpoint, proxied=bool(self._ports(endpoint)))
            return code, words
        if endpoint.redirects.local:
            return await self._driver.perform(easy)
        registry = endpoint.registry
        if registry not in self.known:
            # An upload session that another process opened: its registry has not been asked for anything here.
            await self._ask(endpoint)
        guard = _Guard(self.known.get(registry, AddressKind.ORDINARY), self._ports(endpoint))
        scheme_host_port = origin_of(request.url)
        host = scheme_host_port[1] if scheme_host_port else ""
        written = kind_of_host(host)
        if not guard.allows(written):
            raise _refused(request, endpoint, origin, host, written)
        easy.setopt(pycurl.OPENSOCKETFUNCTION, guard.open_socket)
        easy.setopt(pycurl.PREREQFUNCTION, guard.may_ask)
        try:
            code, words = await self._driver.perform(easy)
        finally:
            easy.unsetopt(pycurl.OPENSOCKETFUNCTION)
            easy.unsetopt(pycurl.PREREQFUNCTION)
        if code and guard.refused is not None:
            address, kind = guard.refused
            raise _refused(request, endpoint, origin, address, kind)
        return code, words

    def _ports(self, endpoint: Endpoint) -> frozenset[int]:
        network = endpoint.network
        own = [proxy for proxy in (network.proxy, network.plain_proxy) if proxy not in (None, NO_PROXY)]
        return self._proxy_ports | proxy_ports({}, *map(str, own))


class _Guard:
    """Looks at the addresses of one transfer; `own` is what its registry's is. `refused` is the last that may not be
    connected to: a name may have others beside it.
    """

    def __init__(self, own: AddressKind, proxies: frozenset[int]) -> None:
        self._own = own
        self._proxies = proxies
        self.refused: tuple[str, AddressKind] | None = None

    def allows(self, kind: AddressKind) -> bool:
        return kind is AddressKind.ORDINARY or kind is self._own

    def open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """CURLOPT_OPENSOCKETFUNCTION."""
        if not self._passes(address.addr[0], address.addr[1]):
            return int(pycurl.SOCKET_BAD)
        return socket.socket(address.family, address.socktype, address.protocol)

    def may_ask(self, address: str, _local: str, port: int, _local_port: int) -> int:
        """CURLOPT_PREREQFUNCTION."""
        return int(pycurl.PREREQFUNC_OK if self._passes(address, port) else pycurl.PREREQFUNC_ABORT)

    def _passes(self, address: str, port: int) -> bool:
        kind = kind_of_address(address)
        # A proxy on this machine is usual, and was asked for by the user; what is asked of it was looked at by name.
        if self.allows(kind) or (kind is AddressKind.LOOPBACK and port in self._proxies):
            return True
        self.refused = (address, kind)
        return False


def proxy_ports(environ: Mapping[str, str], *others: str) -> frozenset[int]:
    """The ports of all proxies that libcurl may use: those of the environment, and `others`, as URLs."""
    ports = set()
    for text in (*(environ.get(name, "") for name in _PROXY_VARIABLES), *others):
        if text:
            try:
                port = urlsplit(text if "://" in text else f"http://{text}").port
            except ValueError:
                continue  # libcurl says what is wrong with it
            ports.add(port or _DEFAULT_PROXY_PORT)
    return frozenset(ports)


def _kind_of_peer(easy: pycurl.Curl, endpoint: Endpoint, *, proxied: bool) -> AddressKind:
    try:
        used_proxy = bool(easy.getinfo(USED_PROXY))
    except (pycurl.error, ValueError):  # a libcurl that does not know yet
        used_proxy = proxied
    if used_proxy:
        origin = origin_of(endpoint.base_url)
        return kind_of_host(origin[1] if origin else "")
    return kind_of_address(easy.getinfo(pycurl.PRIMARY_IP))


def _refused(
    request: Request, endpoint: Endpoint, origin: Origin, address: str, kind: AddressKind
) -> ProtocolViolation:
    return ProtocolViolation(
        f"the registry {endpoint.registry} sends us on to {address}, which is {kind.value}, where it is not itself: "
        f"{request.line} was not sent",
        origin=origin,
        operation=request.operation.value,
        repository=str(request.repository) if request.repository else None,
        request=request.line,
        hint=f"If its storage really is there: allow_local_redirects: true for {endpoint.registry} in the auth file.",
    )
