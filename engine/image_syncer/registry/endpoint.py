"""Endpoints: the addresses of a registry's API, its network and proxies, and where its redirects may lead.

Proxy variables are those of Go's `httpproxy` and of libcurl, with Go's meaning where they differ, since users of the Go
tool come with such an environment: https://pkg.go.dev/golang.org/x/net/http/httpproxy, curl(1). Redirects: RFC 9110,
section 15.4. Pure data; `net/network_options.py` sets libcurl's options.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import msgspec

from image_syncer.errors import Origin, ProtocolViolation, keep_out
from image_syncer.patterns import lazy_pattern
from image_syncer.registry.location import may_carry_credentials, origin_of, resolve_location, without_query
from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import GENERIC, Profile
from image_syncer.registry.profiles.recognition import profile_from_text, profile_to_text, recognise_host
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.registry.message import Request, Response


class RedirectPolicy(NamedTuple):
    """What the user allows the redirects and upload addresses of a registry.

    `local`: loopback, link-local and metadata addresses, where the registry itself is not. `plain`: blobs from HTTPS to
    plain HTTP; their bytes and signed addresses can then be read on the way, but not changed, since they have a digest.
    """

    local: bool = False
    plain: bool = False


STRICT = RedirectPolicy()
"""The default."""

PROXY_SCHEMES = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
"""The schemes of proxies with their default ports (as in Go; libcurl has 1080 for all)."""

_HOST = lazy_pattern(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}))(?::(?P<port>[0-9]{1,5}))?"
)
_LAST_PORT = 65535
_LOOPBACK = "localhost,127.0.0.0/8,::1"
"""Hosts without a proxy of the environment, as in Go."""


def parse_proxy(text: str) -> str:
    """Return a proxy like "host:port" or "scheme://[user[:password]@]host[:port]" as a complete URL for CURLOPT_PROXY.

    User name and password are URL-encoded; "%" counts as part of an encoded character. Raises ValueError with a
    sentence that quotes neither.
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
    """Return the proxy without user name and password, for people."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def proxy_secrets(url: str | None) -> tuple[str, ...]:
    """Return the secrets of a proxy: the password of `url`, encoded and decoded, and the value of Basic."""
    userinfo = (url or "").partition("://")[2].rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    if not password:
        return ()
    pair = f"{unquote(user)}:{unquote(password)}"
    return password, unquote(password), b64encode(pair.encode()).decode("ascii")


def environment_proxies(environ: Mapping[str, str]) -> tuple[str | None, str | None, str]:
    """Return the proxies for HTTPS and for plain HTTP, and the hosts without a proxy, for CURLOPT_NOPROXY.

    Lower case precedes upper case, and ALL_PROXY is the default. With socks5://, the proxy resolves names, as in Go.
    HTTP_PROXY is not read in a CGI program (REQUEST_METHOD is set), where clients can set it. Raises ValueError, which
    names the variable.
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
    """Return CURLOPT_NOPROXY, which supports neither ports nor "*." in the list, and "*" only alone."""
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
"""Header values that are hosts, like X-Forwarded-Host's: they are no secrets, or messages would not name registries."""
NO_PROXY = "none"
"""No proxy, whatever the environment says."""


class Network(Value, frozen=True, cache_hash=True):  # handles are kept by network
    """How the host of a registry is reached, beyond its name. The defaults are libcurl's own.

    `proxy` is a URL with user name and password, or NO_PROXY; `plain_proxy` is another one for plain HTTP, and
    `no_proxy` the hosts without a proxy (CURLOPT_NOPROXY). `environment_proxy`: they come from the environment, not
    from the registry's entry. `client_cert`, `client_key` and `authorities` are PEM files; `authorities` are trusted in
    addition to the system's, unless the endpoint has a `ca_file`. `resolve` has texts of CURLOPT_RESOLVE
    ("host:port:address[,address]"), or addresses of the registry alone. `interface` is a name or an address of this
    machine, `ip_version` 4 or 6, `http_version` "1.1", "2" or "3". `headers` go to the registry itself, as the client
    certificate does, and never to another host that it names. `unix_socket` is the path of a socket instead of any
    address (CURLOPT_UNIX_SOCKET_PATH), for our own servers; no file can set it.
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
        # Gateways and proxies may echo these, and every process that reads their answers has a Network.
        values = (value for _, value in self.headers if not re.fullmatch(_PLACE, value))
        keep_out(*proxy_secrets(self.proxy), *proxy_secrets(self.plain_proxy), self.client_key_password, *values)

    @property
    def is_default(self) -> bool:
        """Whether all is libcurl's default."""
        return self == DIRECT

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy for `url`, or NO_PROXY; None leaves it to libcurl. `no_proxy` is not considered."""
        plain = self.plain_proxy is not None and url.startswith("http://")
        return self.plain_proxy if plain else self.proxy

    def described(self) -> dict[str, str]:
        """Return what is set, by name, for people: without passwords and header values."""
        where = " of the environment" if self.environment_proxy else ""
        shown: dict[str, str] = {}
        if self.proxy is not None:
            shown["proxy"] = shown_proxy(self.proxy) + where
        if self.plain_proxy not in (None, self.proxy):
            shown["proxy for plain HTTP"] = shown_proxy(str(self.plain_proxy)) + where
        for name in ("no_proxy", "client_cert", "client_key", "interface", "ip_version", "http_version"):
            if (value := getattr(self, name)) is not None:
                shown[name] = str(value)
        texts = {
            "authorities": self.authorities,
            "resolve": self.resolve,
            "headers": [name for name, _ in self.headers],
        }
        return shown | {name: " ".join(values) for name, values in texts.items() if values}

    def to_text(self) -> str | None:
        """Return what is set as JSON for another process; None for the default."""
        return _text_of(self)

    @staticmethod
    @lru_cache(maxsize=256)
    def from_text(text: str | None) -> Network:
        """Return the network of a text of `to_text`."""
        return DIRECT if text is None else msgspec.json.decode(text, type=Network)


@lru_cache(maxsize=256)
def _text_of(network: Network) -> str | None:
    return None if network.is_default else msgspec.json.encode(network).decode()


DIRECT = Network()
"""libcurl's defaults."""
_PLACE_HEX = 16


EndpointData: TypeAlias = tuple[str, str, bool, str | None, int | None, str, str | None, bool, bool]
"""An endpoint as plain values that can be hashed (`Endpoint.to_data`)."""


class Endpoint(Value, frozen=True):
    """One address of a registry's API.

    `registry` is the name that references use ("docker.io"), `base_url` has no slash at its end
    ("https://registry-1.docker.io"). `verify` False accepts any certificate; `ca_file` is a PEM file of authorities to
    trust in addition to the system's. Blobs of more than `pieces_above` bytes are uploaded in pieces from the start
    (None: never). `profile` is the kind of registry, `network` how it is reached, `redirects` where it may send us.
    """

    registry: str
    base_url: str
    verify: bool = True
    ca_file: str | None = None
    pieces_above: int | None = None
    profile: Profile = GENERIC
    network: Network = DIRECT
    redirects: RedirectPolicy = STRICT

    def to_data(self) -> EndpointData:
        """Return the endpoint for another process, as plain values that can be hashed."""
        profile, network = profile_to_text(self.profile), None if self.network is DIRECT else self.network.to_text()
        plain = self.registry, self.base_url, self.verify, self.ca_file, self.pieces_above
        return (*plain, profile, network, *self.redirects)

    @classmethod
    def from_data(cls, *data: Any) -> Endpoint:
        """Return the endpoint of the values of `to_data`."""
        registry, base_url, verify, ca_file, pieces_above, profile_text, network_text, *redirects = data
        profile, network = profile_from_text(profile_text), Network.from_text(network_text)
        return cls(registry, base_url, verify, ca_file, pieces_above, profile, network, RedirectPolicy(*redirects))


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
    """Return the endpoints of `registry` in the order of trial.

    The default is only HTTPS with verification: `skip_tls_verify` turns verification off, `insecure` also allows plain
    HTTP where HTTPS does not answer, as dockerd's `insecure-registries` does. Without the user's `profile`, the name
    decides. `host` ("mirror.example:5000") replaces the registry's own API host. A Unix socket has plain HTTP, and a
    reserved host name of its own (RFC 2606, section 2).
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


MAX_REDIRECTS = 5
"""Registries need one or two (storage, a regional host); browsers give up at 20, the Go client at 10."""
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD_STATUSES = frozenset({307, 308})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_MAY_LEAVE_TLS = frozenset({Operation.GET_BLOB, Operation.HEAD_BLOB})
"""Where the user allows it: a digest protects the bytes; storage inside a private network is sometimes plain HTTP."""
_PLAIN_HINT = (
    "Have the registry's storage served over TLS; or, where the way there is trusted, set allow_plain_redirects: true "
    "for this registry in the auth file."
)


def follow_redirect(
    request: Request,
    response: Response,
    *,
    followed: int,
    origin: Origin = Origin.LOCAL,
    allowed: RedirectPolicy = STRICT,
) -> Request:
    """Return the request that a redirecting `response` asks for, after `followed` redirects of the same exchange.

    The method stays. Another host gets no scopes, and so no token. Raises `ProtocolViolation` for too many redirects,
    for an unusable or the same address, for one that leaves TLS (blobs may where `allowed`), and where the status would
    turn a request with a body into a GET (only 307 and 308 do not).
    """
    target = response.headers.get("Location", "")
    what = _objection(request, response, target, followed)
    hint = None
    if what is None:
        url = resolve_location(response.url or request.url, target, origin=origin)
        what, hint = _objection_to(url, request, allowed)
        if what is None:
            stays = may_carry_credentials(request.url, url)
            return request._replace(url=url, scopes=request.scopes if stays else ())
    raise ProtocolViolation(
        f"{request.line} answered {response.status}, which {what}",
        **request.error_fields(origin),
        status=response.status,
        hint=hint,
    )


def _objection(request: Request, response: Response, target: str, followed: int) -> str | None:
    if response.status not in REDIRECT_STATUSES:
        return "is no redirect"
    if not target:
        return "redirects without a Location"
    if followed >= MAX_REDIRECTS:
        return f"redirects once more after {followed} redirects"
    if request.method not in _SAFE_METHODS and response.status not in _SAME_METHOD_STATUSES:
        shown = without_query(target) if origin_of(target) else "elsewhere"
        return f"redirects what must not turn into a GET to {shown}"
    return None


def _objection_to(url: str, request: Request, allowed: RedirectPolicy) -> tuple[str | None, str | None]:
    """Return what is wrong with the address, and a hint."""
    if url == request.url:
        return "redirects to the same address", None
    before, after = origin_of(request.url), origin_of(url)
    leaves_tls = before is not None and after is not None and (before[0], after[0]) == ("https", "http")
    is_blob = request.operation in _MAY_LEAVE_TLS
    if not leaves_tls or (is_blob and allowed.plain):
        return None, None
    return f"redirects from HTTPS to plain HTTP: {without_query(url)}", _PLAIN_HINT if is_blob else None
