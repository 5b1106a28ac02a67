"""The keys of a registry's entry that say how its host is reached."""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import ip_address
from typing import TYPE_CHECKING

from image_syncer.config.environment import Expansion
from image_syncer.config.findings import key_path, shown
from image_syncer.registry import DIRECT, NO_PROXY, Network, parse_proxy
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.entry_fields import EntryFields

__all__ = ["NETWORK_KEYS", "merge_networks", "read_network"]

NETWORK_KEYS: tuple[str, ...] = (
    "proxy",
    "client_cert",
    "client_key",
    "client_key_password",
    "resolve",
    "interface",
    "ip_version",
    "http_version",
    "headers",
)

_HTTP_VERSIONS = ("1.1", "2", "3")
_IP_VERSIONS = ("4", "6")
_PEM_MEND = "write the path of a PEM file"
_RESOLVE_MEND = "write an address, or host:port:address as for curl --resolve"
_HOST_AND_PORT = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5}):(?P<rest>.+)"
)
_LAST_PORT = 65535
_INTERFACE = re.compile(r"[^\s/!\x00-\x1f\x7f]{1,64}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_OWN_HEADERS = {
    "authorization": "write username and password: they go where they may go, and nowhere else",
    "proxy-authorization": "write user:password@ before the host of the proxy",
    **dict.fromkeys(
        (
            *("accept", "accept-encoding", "connection", "content-length", "content-range", "content-type"),
            *("expect", "host", "keep-alive", "range", "te", "trailer", "transfer-encoding", "upgrade"),
        ),
        "leave it out: image-syncer says here what the request needs",
    ),
}
"""Request headers that nobody else may set, and what to write instead."""


def read_network(entry: EntryFields) -> Network:
    """What the entry says of the network."""
    if not any(name in entry for name in NETWORK_KEYS):
        return DIRECT
    cert, key = entry.file("client_cert", _PEM_MEND), entry.file("client_key", _PEM_MEND)
    password = entry.secret("client_key_password", Expansion.BRACED)
    for name in ("client_key", "client_key_password"):
        if name in entry and "client_cert" not in entry:
            what = f"{name} without client_cert"
            entry.findings.error(entry.line(name), entry.key(name), what, "name the certificate that it belongs to")
    proxy, http_version = _read_proxy(entry), entry.choice("http_version", _HTTP_VERSIONS)
    if http_version == "3" and proxy not in (None, NO_PROXY):
        what = "HTTP/3 goes through no proxy"
        entry.findings.error(entry.line("http_version"), entry.key("http_version"), what, "write 2, or no proxy")
    ip_version = entry.choice("ip_version", _IP_VERSIONS)
    network = Network(
        proxy=proxy,
        client_cert=cert,
        client_key=key,
        client_key_password=password or None,
        resolve=_read_resolve(entry),
        interface=_read_interface(entry),
        ip_version=int(ip_version) if ip_version else None,
        http_version=http_version,
        headers=_read_headers(entry),
    )
    return DIRECT if network.is_default else network


def merge_networks(networks: Iterable[Network]) -> Network:
    """The network of a host out of those of all its entries: of each setting the first that there is; a key goes with
    its certificate.
    """
    merged = DIRECT
    for network in networks:
        new = {
            field.name: getattr(network, field.name)
            for field in fields(Network)
            if getattr(merged, field.name) == field.default
        }
        if merged.client_cert is not None:
            new = {name: value for name, value in new.items() if not name.startswith("client_")}
        merged = replace(merged, **new)
    return DIRECT if merged.is_default else merged


def _read_proxy(entry: EntryFields) -> str | None:
    text = entry.secret("proxy", Expansion.BRACED)
    if not text:
        return None
    if text.strip().lower() == NO_PROXY:
        return NO_PROXY
    try:
        return parse_proxy(text)
    except ValueError as error:
        mend = "write none, http://proxy.example:3128, or socks5h://…; user:${PASSWORD}@ before the host"
        entry.findings.error(entry.line("proxy"), entry.key("proxy"), str(error), mend)
    return None


def _read_resolve(entry: EntryFields) -> tuple[str, ...]:
    found = []
    for text in entry.texts("resolve"):
        match = _HOST_AND_PORT.fullmatch(text.strip())
        named = match is not None and not _is_address(text.strip())
        head = f"{match['host'].lower()}:{int(match['port'])}:" if match and named else ""
        addresses = [one.strip() for one in (match["rest"] if match and named else text).split(",")]
        usable = all(map(_is_address, addresses)) and not (match and named and not 0 < int(match["port"]) <= _LAST_PORT)
        if usable:
            found.append(head + ",".join(map(_bracketed, addresses)))
        else:
            what = f"{shown(text)} is neither an address nor host:port:address"
            entry.findings.error(entry.line("resolve"), entry.key("resolve"), what, _RESOLVE_MEND)
    return tuple(found)


def _is_address(text: str) -> bool:
    try:
        ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        return False
    return "%" not in text  # libcurl takes no zone here


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def _read_interface(entry: EntryFields) -> str | None:
    text = entry.text("interface").strip()
    if not text or _INTERFACE.fullmatch(text):
        return text or None
    what = f"{shown(text)} is neither an interface nor an address of this machine"
    entry.findings.error(entry.line("interface"), entry.key("interface"), what, "write eth0 or 192.0.2.10")
    return None


def _read_headers(entry: EntryFields) -> tuple[tuple[str, str], ...]:
    found: dict[str, tuple[str, str]] = {}
    for name, value, line in entry.pairs("headers"):
        key = key_path(entry.key("headers"), name)
        what = mend = None
        if not _HEADER_NAME.fullmatch(name):
            what, mend = f"“{shown(name)}” is no name of a header", "write letters, digits and “-”"
        elif (own := _OWN_HEADERS.get(name.lower())) is not None:
            what, mend = f"the header {name} cannot be set", own
        elif name.lower() in found:
            what, mend = f"the header {name} is there twice", "keep one of them"
        elif not _HEADER_VALUE.fullmatch(value.strip(" ")):
            what = "the value is empty, or has characters that no header may have (control characters, not ASCII)"
            mend = "write a text of ASCII characters in one line"
        if what is None:
            found[name.lower()] = (name, value.strip(" "))
        else:
            entry.findings.error(line, key, what, mend)
    return tuple(found.values())
