"""Addresses that belong to one machine, or to its cloud, and mean something else to every machine that uses them.

A registry that sends us to one of them has us ask what only we can reach: a service on loopback, or the metadata
service of a cloud, which hands out credentials to whoever asks (server-side request forgery). Private networks
(RFC 1918, RFC 4193) are none of them: registries keep their storage there, and one that names such an address is
mostly there itself.

Pure functions. Which address is connected to, libcurl tells (`whereabouts.py`); the name counts where a proxy connects.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["AddressKind", "kind_of_address", "kind_of_host", "parse_literal"]


class AddressKind(Enum):
    """What an address is to the machine that uses it; the values are words for people."""

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
_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
# "This host on this network" (RFC 1122, section 3.2.1.3): Linux connects to itself.
_THIS_HOST = (IPv4Network("0.0.0.0/8"), IPv6Network("::/128"))
_LINK_LOCAL = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
"""RFC 6052, RFC 8215: the last 32 bits are an IPv4 address."""
_COMPATIBLE = IPv6Network("::/96")
"""RFC 4291, section 2.5.5.1: the same, deprecated."""
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
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")
_MOST_PARTS = 4
_BYTE = 8


def parse_literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` is, None for a name. IPv4 in every form that inet_aton(3) and libcurl take: one to four
    parts, each decimal, octal or hexadecimal ("2130706433", "0x7f.1", "0177.0.0.1").
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
    except ValueError:  # 08: no octal number, and so a name
        return None
    tail_bytes = _MOST_PARTS - len(heads)
    if any(head >= 1 << _BYTE for head in heads) or tail >= 1 << (_BYTE * tail_bytes):
        return None
    value = 0
    for head in heads:
        value = value << _BYTE | head
    return IPv4Address(value << (_BYTE * tail_bytes) | tail)


@lru_cache(maxsize=1024)
def kind_of_address(text: str) -> AddressKind:
    """What the address `text` ("127.0.0.1", "fe80::1%2") is; an IPv4 address inside an IPv6 one counts as itself."""
    try:
        return _kind_of(ip_address(text.partition("%")[0]))
    except ValueError:
        return AddressKind.ORDINARY


@lru_cache(maxsize=1024)
def kind_of_host(host: str) -> AddressKind:
    """What the host of a URL is as it is written, without asking for the address of a name."""
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
    if any(address in network for network in (*_LOOPBACK, *_THIS_HOST)):
        return AddressKind.LOOPBACK
    if any(address in network for network in _LINK_LOCAL):
        return AddressKind.LINK_LOCAL
    inner = _inner(address) if isinstance(address, IPv6Address) else None
    return AddressKind.ORDINARY if inner is None else _kind_of(inner)


def _inner(address: IPv6Address) -> IPv4Address | None:
    if address in _COMPATIBLE or any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
