"""Where a registry's API is, and the order in which its addresses are tried.

The network between us and one registry, as the user wants it used. Pure data; `net/network_options.py` tells
libcurl.

Proxies: how they are written, and which of them the environment names.

The variables are those of Go's `httpproxy` and of libcurl, with Go's meaning where the two differ, since users of the
Go tool come with an environment that works: https://pkg.go.dev/golang.org/x/net/http/httpproxy, and curl(1), section
"Proxy environment variables".
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import orjson
from msgspec import structs

from image_syncer.errors import keep_out
from image_syncer.registry.profiles import GENERIC, Profile, profile_from_text, profile_to_text, recognise_host
from image_syncer.registry.redirect_policy import STRICT, RedirectPolicy
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DIRECT",
    "NO_PROXY",
    "PROXY_SCHEMES",
    "Endpoint",
    "Network",
    "candidate_endpoints",
    "environment_proxies",
    "parse_proxy",
    "proxy_secrets",
    "shown_proxy",
]


PROXY_SCHEMES = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
"""The schemes of proxies, with the port that each has where none is written (as in Go, not libcurl's 1080 for all)."""

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}))(?::(?P<port>[0-9]{1,5}))?")
_LAST_PORT = 65535
_LOOPBACK = "localhost,127.0.0.0/8,::1"
"""Never asked through a proxy of the environment, as in Go."""


def parse_proxy(text: str) -> str:
    """The proxy in "host:port" or "scheme://[user[:password]@]host[:port]", complete, as a URL for CURLOPT_PROXY.

    Characters of the user name and the password that a URL may not hold are encoded; "%" is taken as a part of an
    encoded one. Raises ValueError with a sentence that quotes neither.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", scheme
    scheme = scheme.lower()
    if scheme not in PROXY_SCHEMES:
        raise ValueError(f"a proxy begins with one of {', '.join(f'{name}://' for name in PROXY_SCHEMES)}")
    userinfo, at, authority = rest.rpartition("@")
    match = _HOST.fullmatch(authority.removesuffix("/"))
    port = int(match["port"] or PROXY_SCHEMES[scheme]) if match else 0
    if match is None or not 0 < port <= _LAST_PORT:
        raise ValueError("this names no host of a proxy")
    user, colon, password = userinfo.partition(":")
    known = f"{quote(user, safe='%')}{colon}{quote(password, safe='%')}@" if at else ""
    return f"{scheme}://{known}{match['host']}:{port}"


def shown_proxy(url: str) -> str:
    """The proxy without user name and password, for people."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def proxy_secrets(url: str | None) -> tuple[str, ...]:
    """What a proxy is told of us and nobody else should see: the password of `url`, as written and as meant, and the
    value of Basic. Nothing where it has none.
    """
    userinfo = (url or "").partition("://")[2].rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    if not password:
        return ()
    pair = f"{unquote(user)}:{unquote(password)}"
    return password, unquote(password), b64encode(pair.encode()).decode("ascii")


def environment_proxies(environ: Mapping[str, str]) -> tuple[str | None, str | None, str]:
    """The proxies for HTTPS and for plain HTTP, and the hosts that are asked without them, for CURLOPT_NOPROXY.

    Lower case goes before upper case, and ALL_PROXY counts where there is no other. With socks5://, the proxy looks up
    the names, as in Go. HTTP_PROXY is not read in a CGI
    program (REQUEST_METHOD is set), where clients can set it. Raises ValueError, which names the variable.
    """
    plain = ("http_proxy",) if "REQUEST_METHOD" in environ else ("http_proxy", "HTTP_PROXY")
    secure, unencrypted = (
        _first(environ, (*names, "all_proxy", "ALL_PROXY")) for names in (("https_proxy", "HTTPS_PROXY"), plain)
    )
    return secure, unencrypted, _without_proxy(environ.get("no_proxy") or environ.get("NO_PROXY") or "")


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    for name in names:
        if text := environ.get(name, "").strip():
            try:
                url = parse_proxy(text)
            except ValueError as error:
                raise ValueError(f"the environment variable {name} cannot be used: {error}") from None
            return url.replace("socks5://", "socks5h://", 1) if url.startswith("socks5://") else url
    return None


def _without_proxy(text: str) -> str:
    """CURLOPT_NOPROXY knows neither ports nor "*." in this list, and "*" only where it stands alone."""
    hosts = [part.strip() for part in re.split(r"[,\s]+", text) if part.strip()]
    if "*" in hosts:
        return "*"
    return ",".join([*map(_host_alone, hosts), _LOOPBACK])


def _host_alone(entry: str) -> str:
    entry = entry[1:] if entry.startswith("*.") else entry
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, port = entry.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else entry


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


_PLACE_HEX = 16


class Endpoint(Value, frozen=True):
    """One address of a registry's API.

    `registry` is the name that references use ("docker.io"), `base_url` has no slash at its end
    ("https://registry-1.docker.io"). `verify` False accepts any certificate; `ca_file` is a PEM file of
    authorities to trust beside the system's directory of them. Blobs of more than `pieces_above` bytes are uploaded in
    pieces from the start; None: none are. `profile` says what kind of registry it is, `network` how it is reached,
    `redirects` where it may send us.
    """

    registry: str
    base_url: str
    verify: bool = True
    ca_file: str | None = None
    pieces_above: int | None = None
    profile: Profile = GENERIC
    network: Network = DIRECT
    redirects: RedirectPolicy = STRICT

    def to_data(self) -> tuple[str, str, bool, str | None, int | None, str, str | None, bool, bool]:
        """What another process needs to know: plain values that can be hashed."""
        network = None if self.network is DIRECT else self.network.to_text()
        return (
            self.registry,
            self.base_url,
            self.verify,
            self.ca_file,
            self.pieces_above,
            profile_to_text(self.profile),
            network,
            *self.redirects,
        )

    @classmethod
    def from_data(
        cls,
        registry: str,
        base_url: str,
        verify: bool,
        ca_file: str | None,
        pieces_above: int | None,
        profile: str,
        network: str | None,
        *redirects: bool,
    ) -> Endpoint:
        """The endpoint that `to_data` described."""
        return cls(
            registry,
            base_url,
            verify,
            ca_file,
            pieces_above,
            profile_from_text(profile),
            Network.from_text(network),
            RedirectPolicy(*redirects),
        )


def candidate_endpoints(
    registry: str,
    *,
    insecure: bool,
    skip_tls_verify: bool,
    ca_file: str | None = None,
    network: Network = DIRECT,
    profile: Profile | None = None,
    host: str = "",
) -> tuple[Endpoint, ...]:
    """The addresses of `registry` in the order of trial.

    HTTPS with verification, and nothing else, unless the user said otherwise: `skip_tls_verify` leaves
    verification out, `insecure` leaves it out and allows plain HTTP where HTTPS does not answer, as dockerd's
    `insecure-registries` does. `profile` is what the user says of the registry; otherwise its name tells. `host`
    ("mirror.example:5000") is asked instead of the registry's own API host
    where it is given. Over a Unix socket it is plain HTTP, and the host is none (RFC 2606, section 2), but one of its
    own.
    """
    if network.unix_socket is not None:
        own = sha256(registry.encode()).hexdigest()[:_PLACE_HEX]
        return (Endpoint(registry, f"http://{own}.invalid", profile=profile or GENERIC, network=network),)
    by_name = recognise_host(registry)
    host = host or by_name.api_host or registry
    secure = Endpoint(
        registry,
        f"https://{host}",
        verify=not (insecure or skip_tls_verify),
        ca_file=ca_file,
        profile=profile or by_name,
        network=network,
    )
    if not insecure:
        return (secure,)
    return (secure, replace(secure, base_url=f"http://{host}", ca_file=None))
