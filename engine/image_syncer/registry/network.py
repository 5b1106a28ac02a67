"""The network between us and one registry, as the user wants it used. Pure data; `net/network_options.py` tells
libcurl.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import orjson
from msgspec import structs

from image_syncer.errors import keep_out
from image_syncer.registry.proxy import proxy_secrets, shown_proxy
from image_syncer.values import Value, repr_without

__all__ = ["DIRECT", "NO_PROXY", "Network"]

_PLACE = r"(?i)(?:[a-z0-9-]{1,63}\.)*(?:localhost|[a-z]{2,18}|[0-9.]+)(?::[0-9]{1,5})?"
"""Values of header fields that are hosts, as of X-Forwarded-Host: without them no message would name the registry."""

NO_PROXY = "none"
"""A proxy that is none: the registry is asked directly, whatever the environment says."""


class Network(Value, frozen=True, cache_hash=True):  # it is a part of what handles are kept by
    """How the host of a registry is reached, beyond its name. The defaults are libcurl's own.

    `proxy` is a URL, with its user name and password if it wants them, or NO_PROXY; `plain_proxy` is the one for plain
    HTTP where that is another, and `no_proxy` the hosts that are asked without them (CURLOPT_NOPROXY).
    `environment_proxy`: they come from the environment, and not from the registry's entry.

    `client_cert` and `client_key` are PEM files, and `authorities` such files to trust beside the system's (where the
    endpoint has no `ca_file`). `resolve` has texts of CURLOPT_RESOLVE ("host:port:address[,address]"), or addresses
    alone, which then are those of the registry. `interface` is a name or an address of this machine, `ip_version` 4 or
    6, `http_version` "1.1", "2" or "3". `headers` go to the registry itself, as the client certificate does: never to
    another host that it names.

    `unix_socket` is the path of a socket of this machine that is connected to instead of any address
    (CURLOPT_UNIX_SOCKET_PATH), for what we serve ourselves: no file can set it.
    """

    proxy: str | None = None
    plain_proxy: str | None = None
    no_proxy: str | None = None
    environment_proxy: bool = False
    client_cert: str | None = None
    client_key: str | None = None
    client_key_password: str | None = None
    authorities: tuple[str, ...] = ()
    resolve: tuple[str, ...] = ()
    interface: str | None = None
    ip_version: int | None = None
    http_version: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    unix_socket: str | None = None

    __repr__ = repr_without("proxy", "plain_proxy", "client_key_password", "headers")

    def __post_init__(self) -> None:
        # Gateways and proxies tell back what they were told, and every process that may meet that has a Network.
        values = (value for _, value in self.headers if not re.fullmatch(_PLACE, value))
        keep_out(*proxy_secrets(self.proxy), *proxy_secrets(self.plain_proxy), self.client_key_password, *values)

    @property
    def is_default(self) -> bool:
        """Whether the user wants nothing special."""
        return self == DIRECT

    def proxy_for(self, url: str) -> str | None:
        """The proxy for `url`, or NO_PROXY; None where libcurl decides. `no_proxy` is not looked at."""
        plain = self.plain_proxy is not None and url.startswith("http://")
        return self.plain_proxy if plain else self.proxy

    def described(self) -> dict[str, str]:
        """What is set, by name, for people: no passwords, and of the header fields their names."""
        where = " of the environment" if self.environment_proxy else ""
        told: dict[str, str] = {}
        if self.proxy is not None:
            told["proxy"] = shown_proxy(self.proxy) + where
        if self.plain_proxy not in (None, self.proxy):
            told["proxy for plain HTTP"] = shown_proxy(str(self.plain_proxy)) + where
        for name in ("no_proxy", "client_cert", "client_key", "interface", "ip_version", "http_version"):
            if (value := getattr(self, name)) is not None:
                told[name] = str(value)
        for name in ("authorities", "resolve"):
            if texts := getattr(self, name):
                told[name] = " ".join(texts)
        if self.headers:
            told["headers"] = " ".join(name for name, _ in self.headers)
        return told

    def to_text(self) -> str | None:
        """What is set, as JSON for another process; None where nothing is."""
        return _text_of(self)

    @staticmethod
    def from_text(text: str | None) -> Network:
        """The network that `to_text` described."""
        return DIRECT if text is None else _network_of(text)


_NAMES = Network.__struct_fields__


@lru_cache(maxsize=256)
def _text_of(network: Network) -> str | None:
    return None if network.is_default else orjson.dumps(structs.asdict(network)).decode()


@lru_cache(maxsize=256)
def _network_of(text: str) -> Network:
    data: dict[str, Any] = orjson.loads(text)
    return Network(**{name: _frozen(value) for name, value in data.items() if name in _NAMES})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


DIRECT = Network()
"""Nothing special."""
