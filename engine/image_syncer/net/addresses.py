"""Forbidden addresses: where requests to addresses from a registry may not go (server-side request forgery).

They do not go to this machine, to link-local addresses or to the metadata service of a cloud, unless the registry is
there itself or the user allows it. Private networks (RFC 1918, RFC 4193) are allowed: registries keep their storage
there. A name may have any address, so libcurl asks for the address before it opens a connection
(CURLOPT_OPENSOCKETFUNCTION) and before it sends over one (CURLOPT_PREREQFUNCTION). Behind a proxy only the host as it
is written can be checked. Requests to a registry's own address pay nothing here.
"""

from __future__ import annotations

import os
import socket
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pycurl

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import NO_PROXY, may_carry_credentials, origin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from image_syncer.net.multi import CurlDriver
    from image_syncer.registry import Endpoint, Request


class AddressKind(Enum):
    """The kind of an address; the values are words for people."""

    ORDINARY = "an ordinary address"
    LOOPBACK = "this machine itself"
    LINK_LOCAL = "a link-local address"
    METADATA = "the metadata service of a cloud"


_METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Google, Azure, OpenStack, Oracle, DigitalOcean and others
        "169.254.169.253",  # AWS, names and time
        "169.254.170.2",  # AWS, credentials of tasks
        "169.254.170.23",  # AWS, credentials of pods
        "169.254.0.23",  # Tencent
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS, credentials of pods over IPv6
        "fd20:ce::254",  # Google over IPv6
        "100.100.100.200",  # Alibaba; what else it has in 100.64.0.0/10 is its storage
        "168.63.129.16",  # Azure, the host agent's "wire server"
        "192.0.0.192",  # Oracle, an older one
    )
)
_LOOPBACK = (
    *(IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
    # "This host on this network" (RFC 1122, section 3.2.1.3): Linux connects to itself.
    *(IPv4Network("0.0.0.0/8"), IPv6Network("::/128")),
)
_LINK_LOCAL = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
_WITH_IPV4 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
"""RFC 6052, RFC 8215 and RFC 4291 (section 2.5.5.1, deprecated): the last 32 bits are an IPv4 address."""
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"})
_METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "metadata.tencentyun.com",
        "instance-data",
        "instance-data.ec2.internal",
    }
)
_NUMBER = lazy_pattern(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")
_MOST_PARTS = 4


def parse_literal(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that `host` is, None for a name.

    IPv4 has every form of inet_aton(3) and libcurl: one to four parts, each decimal, octal or hexadecimal
    ("2130706433", "0x7f.1", "0177.0.0.1").
    """
    host = host.removesuffix(".")
    if host.startswith("["):
        try:
            return IPv6Address(host[1:].removesuffix("]").partition("%")[0])
        except ValueError:
            return None
    parts = host.split(".")
    if len(parts) > _MOST_PARTS or not all(map(_NUMBER.fullmatch, parts)):
        return None
    try:
        *heads, tail = [int(part, _base_of(part)) for part in parts]
    except ValueError:  # 08 is not an octal number: it is a name
        return None
    try:
        return IPv4Address(bytes(heads) + tail.to_bytes(_MOST_PARTS - len(heads), "big"))
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1024)
def kind_of_address(text: str) -> AddressKind:
    """Return the kind of an address ("127.0.0.1", "fe80::1%2"); an IPv4 address inside an IPv6 one counts as itself."""
    try:
        return _kind_of(ip_address(text.partition("%")[0]))
    except ValueError:
        return AddressKind.ORDINARY


@lru_cache(maxsize=1024)
def kind_of_host(host: str) -> AddressKind:
    """Return the kind of a URL's host as it is written, without resolving a name."""
    literal = parse_literal(host)
    if literal is not None:
        return _kind_of(literal)
    name = host.lower().removesuffix(".")
    if name in _LOCAL_NAMES or name.endswith(".localhost"):  # RFC 6761, section 6.3
        return AddressKind.LOOPBACK
    return AddressKind.METADATA if name in _METADATA_NAMES else AddressKind.ORDINARY


def _base_of(part: str) -> int:
    if part[:2] in ("0x", "0X"):
        return 16
    return 8 if part.startswith("0") else 10


def _kind_of(address: IPv4Address | IPv6Address) -> AddressKind:
    if address in _METADATA:
        return AddressKind.METADATA
    if any(address in network for network in _LOOPBACK):
        return AddressKind.LOOPBACK
    if any(address in network for network in _LINK_LOCAL):
        return AddressKind.LINK_LOCAL
    inner = None
    if isinstance(address, IPv6Address):
        if any(address in network for network in _WITH_IPV4):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        else:
            inner = address.ipv4_mapped or address.sixtofour
    return AddressKind.ORDINARY if inner is None else _kind_of(inner)


USED_PROXY = 0x200000 + 66
"""CURLINFO_USED_PROXY(3), since libcurl 8.7; PycURL has no name for it."""
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The variables that libcurl reads (libcurl-env(3)); not HTTP_PROXY, because a CGI's client could set it."""
_DEFAULT_PROXY_PORT = 1080


class Whereabouts:
    """The kind of each registry's address, and the guard of requests to other addresses.

    `ask(endpoint)` sends a registry any request, so that its address becomes known, and ignores failures.
    """

    def __init__(self, driver: CurlDriver, ask: Callable[[Endpoint], Awaitable[None]]) -> None:
        self._driver = driver
        self._ask = ask
        self.known: dict[str, AddressKind] = {}
        """By registry, the kind of the address of its first answer."""
        self._proxy_ports = proxy_ports(os.environ)

    async def perform(self, easy: pycurl.Curl, request: Request, endpoint: Endpoint, origin: Origin) -> tuple[int, str]:
        """Perform a request to an address from the registry, or one of the first requests to the registry itself.

        Raises `ProtocolViolation` for a forbidden address; nothing has been sent then.
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
            # Another process opened this upload session: this one has not sent the registry a request yet.
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
    """Checks the addresses of one transfer; `own` is the kind of its registry's address.

    `refused` is the last forbidden address: a name may have others.
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
        # A proxy on this machine is usual, and the user's choice; requests to it are checked by their host.
        if self.allows(kind) or (kind is AddressKind.LOOPBACK and port in self._proxies):
            return True
        self.refused = (address, kind)
        return False


def proxy_ports(environ: Mapping[str, str], *others: str) -> frozenset[int]:
    """Return the ports of all proxies that libcurl may use: those of the environment, and `others`, as URLs."""
    ports = set()
    for text in (*(environ.get(name, "") for name in _PROXY_VARIABLES), *others):
        if text:
            try:
                port = urlsplit(text if "://" in text else f"http://{text}").port
            except ValueError:
                continue  # libcurl reports the fault
            ports.add(port or _DEFAULT_PROXY_PORT)
    return frozenset(ports)


def _kind_of_peer(easy: pycurl.Curl, endpoint: Endpoint, *, proxied: bool) -> AddressKind:
    try:
        used_proxy = bool(easy.getinfo(USED_PROXY))
    except (pycurl.error, ValueError):  # an older libcurl
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
        **request.error_fields(origin),
        hint=f"If its storage really is there: allow_local_redirects: true for {endpoint.registry} in the auth file.",
    )
